# Slicer's own file would describe or package the extension here.
