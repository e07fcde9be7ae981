"""Run the command line: `python -m pixeldistill`."""

from pixeldistill.cli import main

if __name__ == "__main__":
    main()
