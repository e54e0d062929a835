"""`tfhash demo`: a page on which a person searches an index by images.

`gallery` reads the indexed files and no others, `pictures` decodes, `query` makes codes of images that
are dropped, `answers` finds, and `app` makes a web application of these and of the files in `static`.
"""
