"""`tfhash serve`: the REST interface of TensorFlow Serving for a model and an index.

`json_format` reads requests and writes answers, `pixels` decodes images, `batching` runs the model,
`service` puts these together, `app` makes a web application of it, and `running` runs that.
"""
