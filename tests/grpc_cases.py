"""A gRPC server of TensorFlow Serving's interface, on a SavedModel."""

import concurrent.futures
import contextlib

import tensorflow as tf


@contextlib.contextmanager
def grpc_server(directory, name):
    """Serves a SavedModel on 127.0.0.1; yields the port."""
    import grpc
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    signatures = tf.saved_model.load(directory).signatures

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802, a name of gRPC
            if request.model_spec.name != name:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model_spec.name!r}")
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            try:
                found = signatures[request.model_spec.signature_name](
                    **{key: tf.constant(value) for key, value in inputs.items()}
                )
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            response = predict_pb2.PredictResponse()
            for key, value in found.items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()
