"""What may be added to the preset `accurate`: other readings, layers, name lists, members."""
