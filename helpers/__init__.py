"""What the chapters of *From Neurons to Transfer* share; one module per subject.

============ ==============================================================
module       subject
============ ==============================================================
data         the image data sets, checked and offline
controls     figures whose sliders move without a kernel
compare      is one way of training better than another: paired intervals
protocol     the rules of a fair comparison: equal updates, equal tuning
evidence     results that took minutes to compute, stored with their origin
transfer     the experiment of the article: one network, five ways to start
networks     small convolutional networks; copying and freezing layers
similarity   how alike two layers are, what a task could read from them
fonts        digits drawn from fonts: a source task without a labeller
optimizers   the update rules of chapter 5, each in a few lines
metrics      are the probabilities of a classifier honest: its reliability
samples      pictures, sentences and spoken words for pretrained networks
pretrained   networks that others trained, turned into Keras networks
weight_files reads the files that such networks come in
projects     the capstone: images or a table of your own, a locked test set
plots        drawings that more than one chapter needs
============ ==============================================================

Importing the package is cheap: TensorFlow is loaded by the functions that need it.
"""

import logging
import os

__version__ = "0.1.0"

# TensorFlow writes pages of notes on the processor when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# It also warns when many small networks are compiled one after the other, which is what a comparison does.
logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())
