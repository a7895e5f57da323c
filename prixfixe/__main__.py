"""`python -m prixfixe` is the command line."""

from prixfixe.cli import main

raise SystemExit(main())
