"""What a report holds (`rows`) and how it is shown (`tables`); shared by the stage and the command line."""
