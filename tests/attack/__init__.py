"""Every command, given inputs of the kinds that somebody would make who means harm, or who copied half a file."""
