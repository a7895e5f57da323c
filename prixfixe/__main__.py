"""`python -m prixfixe` is the command line."""

from prixfixe.cli.start import main

raise SystemExit(main())
