# Slicer's own file would define macros here; this extension's root uses none.
