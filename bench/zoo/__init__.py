"""The small models of the papers' networks that ship with the package, trained anew."""
