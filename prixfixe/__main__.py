"""`python -m prixfixe` is the command line."""

from prixfixe.start import main

raise SystemExit(main())
