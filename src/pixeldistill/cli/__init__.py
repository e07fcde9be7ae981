"""The command line."""


def main() -> None:
    """Run the program: its entry point."""
    from pixeldistill.cli.app import main as run

    run()
