// Op registrations: signatures, documentation and shape functions.

#include <limits>
#include <string>

#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tfhash {
namespace {

using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// Validates the codes, inputs 0 and 1, and returns their counts.
absl::Status CodesShape(InferenceContext* c, DimensionHandle* queries, DimensionHandle* items) {
  ShapeHandle query_codes, item_codes;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 2, &query_codes));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 2, &item_codes));
  DimensionHandle bytes;
  TF_RETURN_IF_ERROR(c->Merge(c->Dim(query_codes, 1), c->Dim(item_codes, 1), &bytes));
  *queries = c->Dim(query_codes, 0);
  *items = c->Dim(item_codes, 0);
  return absl::OkStatus();
}

absl::Status DistanceShape(InferenceContext* c) {
  DimensionHandle queries, items;
  TF_RETURN_IF_ERROR(CodesShape(c, &queries, &items));
  c->set_output(0, c->Matrix(queries, items));
  return absl::OkStatus();
}

absl::Status TopKShape(InferenceContext* c) {
  DimensionHandle queries, items, k;
  TF_RETURN_IF_ERROR(CodesShape(c, &queries, &items));
  ShapeHandle scalar;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 0, &scalar));
  TF_RETURN_IF_ERROR(c->MakeDimForScalarInput(2, &k));
  c->set_output(0, c->Matrix(queries, k));
  c->set_output(1, c->Matrix(queries, k));
  return absl::OkStatus();
}

absl::Status WithinShape(InferenceContext* c) {
  DimensionHandle queries, items, splits;
  TF_RETURN_IF_ERROR(CodesShape(c, &queries, &items));
  ShapeHandle scalar;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), 0, &scalar));
  TF_RETURN_IF_ERROR(c->Add(queries, 1, &splits));
  c->set_output(0, c->Vector(splits));
  c->set_output(1, c->Vector(InferenceContext::kUnknownDim));
  c->set_output(2, c->Vector(InferenceContext::kUnknownDim));
  return absl::OkStatus();
}

absl::Status HistogramShape(InferenceContext* c) {
  DimensionHandle queries, items;
  TF_RETURN_IF_ERROR(CodesShape(c, &queries, &items));
  tensorflow::DataType labels;
  TF_RETURN_IF_ERROR(c->GetAttr("Tlabels", &labels));
  const int rank = labels == tensorflow::DT_UINT8 ? 2 : 1;
  ShapeHandle query_labels, item_labels;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(2), rank, &query_labels));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(3), rank, &item_labels));
  TF_RETURN_IF_ERROR(c->Merge(queries, c->Dim(query_labels, 0), &queries));
  TF_RETURN_IF_ERROR(c->Merge(items, c->Dim(item_labels, 0), &items));
  int64_t bits;
  TF_RETURN_IF_ERROR(c->GetAttr("bits", &bits));
  if (bits > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError("bits must be below 2^31. Received: bits = " +
                                      std::to_string(bits));
  }
  c->set_output(0, c->Matrix(queries, bits + 1));
  c->set_output(1, c->Matrix(queries, bits + 1));
  return absl::OkStatus();
}

}  // namespace

REGISTER_OP("TfhashHammingDistance")
    .Input("queries: uint8")
    .Input("database: uint8")
    .Output("distances: int32")
    .SetShapeFn(DistanceShape)
    .Doc(R"doc(
Hamming distance of each query to each database item.

queries: Packed codes, [q, bytes], bytes >= 1.
database: Packed codes, [n, bytes].
distances: [q, n].
)doc");

REGISTER_OP("TfhashHammingTopK")
    .Input("queries: uint8")
    .Input("database: uint8")
    .Input("k: int64")
    .Output("distances: int32")
    .Output("indices: int64")
    .SetShapeFn(TopKShape)
    .Doc(R"doc(
The k nearest items of each query, in ascending order of (distance, index).

queries: Packed codes, [q, bytes], bytes >= 1.
database: Packed codes, [n, bytes].
k: Number of items, a scalar. REQUIRES: 1 <= k <= n
distances: [q, k].
indices: Rows of the database, [q, k].
)doc");

REGISTER_OP("TfhashHammingWithin")
    .Input("queries: uint8")
    .Input("database: uint8")
    .Input("radius: int64")
    .Output("row_splits: int64")
    .Output("distances: int32")
    .Output("indices: int64")
    .SetShapeFn(WithinShape)
    .Doc(R"doc(
All items at most `radius` bits from each query, in ascending order of (distance, index).

queries: Packed codes, [q, bytes], bytes >= 1.
database: Packed codes, [n, bytes].
radius: A scalar. REQUIRES: radius >= 0
row_splits: Items of query i are those from row_splits[i] up to row_splits[i + 1], [q + 1].
distances: [row_splits[q]].
indices: Rows of the database, of the same length.
)doc");

REGISTER_OP("TfhashHammingHistogram")
    .Input("queries: uint8")
    .Input("database: uint8")
    .Input("query_labels: Tlabels")
    .Input("database_labels: Tlabels")
    .Attr("bits: int >= 1")
    .Attr("Tlabels: {int32, int64, uint8}")
    .Output("items: int64")
    .Output("relevant: int64")
    .SetShapeFn(HistogramShape)
    .Doc(R"doc(
Numbers of items, and of relevant items, at each distance from each query.

queries: Packed codes, [q, ceil(bits / 8)], padding bits zero.
database: Packed codes, [n, ceil(bits / 8)], padding bits zero.
query_labels: Integers [q]; or, of type uint8, packed multi-hot rows [q, label_bytes]. An item
  is relevant to a query if the integers are equal, or if the rows share any bit.
database_labels: Of the same kind, for the n items.
bits: Number of bits of a code.
items: [q, bits + 1].
relevant: [q, bits + 1].
)doc");

}  // namespace tfhash
