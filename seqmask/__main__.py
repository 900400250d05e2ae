"""`python -m seqmask`."""

from seqmask.cli.app import main

if __name__ == "__main__":
    main()
