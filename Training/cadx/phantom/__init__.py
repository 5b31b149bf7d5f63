"""Phantom patients: abdomens with and without a pancreatic cyst as T1/T2 pairs, made of arithmetic alone.

What the classes are, and how hard they are, was fixed by looking at the pictures before anything was trained on
them; it must not be tuned to a model afterwards:

* ``normal``: no cyst, main duct of 1 to 2.5 mm.
* ``low risk``: a cyst of 12 to 28 mm with a wall of about 1 mm, in half the patients with side chambers, in a quarter
  with a thin septum; main duct of at most 3.5 mm.
* ``high risk``: a cyst of 13 to 30 mm with a wall of about 2 mm, a mural nodule of 5 to 10 mm that is darker than
  the fluid on T2 and brighter on T1, and a winding main duct of 6 to 11 mm upstream of the cyst.

Every class has bright fluid in gallbladder, bile duct, stomach, duodenum and bowel near the pancreas, and some
patients have simple cysts of kidney or liver, so that a bright blob alone decides nothing; ROI and intensity
histogram carry no class. On nine ROI slices of 64 x 64 pixels one developer, no radiologist, got 13 of 16 right
blind, before the smallest cysts were enlarged to these sizes: the cyst of 12 mm (six pixels, two slices) beside a
fluid-filled duodenum is the hard low-risk case, the small nodule in a tail cyst the hard high-risk one.
"""

from cadx.phantom.cohort import write_cohort
from cadx.phantom.lesions import CLASSES
from cadx.phantom.patient import PhantomPatient, balanced_label, make_patient

__all__ = ["CLASSES", "PhantomPatient", "balanced_label", "make_patient", "write_cohort"]
