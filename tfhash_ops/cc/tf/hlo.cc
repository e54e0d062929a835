#include "tf/hlo.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "xla/hlo/builder/lib/arithmetic.h"
#include "xla/hlo/builder/lib/comparators.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/hlo/builder/lib/loops.h"
#include "xla/hlo/builder/lib/slicing.h"

namespace tfhash::hlo {
namespace {

using xla::XlaBuilder;
using xla::XlaOp;

// Items in a chunk of the top-k search, unless there are very many queries.
constexpr int64_t kChunk = 16384;

// Upper bound on the elements of a tensor of all pairs of queries and items of a chunk (for a histogram,
// times its bins), which takes memory if the compiler does not fuse it away.
constexpr int64_t kMaxElements = int64_t{1} << 26;

// Float32 represents all integers up to this one exactly.
constexpr int64_t kExactFloat = int64_t{1} << 24;

// Indices are 32-bit where possible, because 64-bit arithmetic is slow on GPUs.
xla::PrimitiveType IndexType(int64_t items) {
  return items <= std::numeric_limits<int32_t>::max() ? xla::S32 : xla::S64;
}

// Items divided into `count` chunks of equal size, with little padding.
struct Chunks {
  int64_t size;
  int64_t count;
};

// REQUIRES: items >= 1; largest >= 1
Chunks CutEvenly(int64_t items, int64_t largest) {
  const int64_t count = (items + largest - 1) / largest;
  return {(items + count - 1) / count, count};
}

XlaOp Sum(XlaOp operand, xla::PrimitiveType type, int64_t dimension) {
  return xla::Reduce(operand, xla::Zero(operand.builder(), type),
                     xla::CreateScalarAddComputation(type, operand.builder()), {dimension});
}

// Codes as 32-bit words, zero-padded, u32 [count, words].
XlaOp Words(const Codes& codes) {
  const int64_t words = (codes.bytes + 3) / 4;
  const XlaOp padded = xla::PadInDim(codes.data, xla::Zero(codes.data.builder(), xla::U8), 1, 0,
                                     4 * words - codes.bytes);
  return xla::BitcastConvertType(xla::Reshape(padded, {codes.count, words, 4}), xla::U32);
}

// Both sides broadcast to every pair, [q, n, width].
struct Pairs {
  XlaOp left;
  XlaOp right;
};

Pairs AllPairs(XlaOp left, XlaOp right, int64_t queries, int64_t items, int64_t width) {
  return {xla::BroadcastInDim(left, {queries, items, width}, {0, 2}),
          xla::BroadcastInDim(right, {queries, items, width}, {1, 2})};
}

XlaOp DistanceOfWords(XlaOp query_words, XlaOp item_words, int64_t queries, int64_t items,
                      int64_t words) {
  const Pairs pairs = AllPairs(query_words, item_words, queries, items, words);
  const XlaOp counts = xla::PopulationCount(xla::Xor(pairs.left, pairs.right));
  return Sum(xla::ConvertElementType(counts, xla::S32), xla::S32, 2);
}

// Positions of the k smallest values of each row [q, width]; equal values in order of position.
XlaOp PositionsOfSmallest(XlaOp values, int64_t rows, int64_t width, int64_t k, int64_t largest) {
  XlaBuilder* builder = values.builder();
  const XlaOp positions =
      xla::Iota(builder, xla::ShapeUtil::MakeShape(xla::S32, {rows, width}), 1);
  if ((largest + 1) * width <= kExactFloat) {
    // One float that sorts by (value, position), because top-k is only fast for floats.
    const XlaOp key = xla::ConvertElementType(
        xla::Add(xla::Mul(values, xla::ConstantR0<int32_t>(builder, width)), positions), xla::F32);
    return xla::GetTupleElement(xla::TopK(xla::Neg(key), k, /*largest=*/true), 1);
  }
  const XlaOp sorted = xla::Sort(
      {values, positions}, xla::CreateScalarLtComputation({xla::S32, xla::S32}, builder), 1,
      /*is_stable=*/true);
  return xla::SliceInDim(xla::GetTupleElement(sorted, 1), 0, k, 1, 1);
}

// Marks the pairs that share a label, pred [q, n].
XlaOp Similar(const Labels& labels, int64_t queries, int64_t items) {
  if (!labels.are_multi_hot) {
    return xla::Eq(xla::BroadcastInDim(labels.queries, {queries, items}, {0}),
                   xla::BroadcastInDim(labels.database, {queries, items}, {1}));
  }
  XlaBuilder* builder = labels.queries.builder();
  const Pairs pairs = AllPairs(labels.queries, labels.database, queries, items, labels.bytes);
  const XlaOp shared = xla::Ne(xla::And(pairs.left, pairs.right), xla::Zero(builder, xla::U8));
  return xla::Reduce(shared, xla::ConstantR0<bool>(builder, false),
                     xla::CreateScalarOrComputation(xla::PRED, builder), {2});
}

}  // namespace

XlaOp Distance(const Codes& queries, const Codes& database) {
  return DistanceOfWords(Words(queries), Words(database), queries.count, database.count,
                         (queries.bytes + 3) / 4);
}

// Processes the items in chunks and keeps the k nearest so far. These are placed before the chunk, so
// that ties resolve by position just as they would by index.
TopKResult TopK(const Codes& queries, const Codes& database, int64_t k) {
  XlaBuilder* builder = queries.data.builder();
  const int64_t q = queries.count, n = database.count, words = (queries.bytes + 3) / 4;
  if (q == 0) {
    return {xla::Broadcast(xla::Zero(builder, xla::S32), {0, k}),
            xla::Broadcast(xla::Zero(builder, xla::S64), {0, k})};
  }
  // Initially farther than any item.
  const int64_t nowhere = 8 * queries.bytes + 1;
  const int64_t exact_width = kExactFloat / (nowhere + 1);
  const int64_t most = std::clamp<int64_t>(kMaxElements / (q * words), 1, kChunk);
  int64_t largest = std::min(n, std::max(k, most));
  // Smaller chunks keep the combined values exact in float32; far smaller ones would be too many.
  if (exact_width - k >= largest / 4) largest = std::min(largest, exact_width - k);
  const auto chunks = CutEvenly(n, largest);
  const int64_t chunk = chunks.size, padded = chunks.size * chunks.count;
  const xla::PrimitiveType index_type = IndexType(padded);
  const XlaOp item_words =
      xla::PadInDim(Words(database), xla::Zero(builder, xla::U32), 0, 0, padded - n);

  auto meet = [&](XlaOp step, absl::Span<const XlaOp> state,
                  XlaBuilder* body) -> absl::StatusOr<std::vector<XlaOp>> {
    const XlaOp first = xla::Mul(xla::ConvertElementType(step, index_type),
                                 xla::ConstantR0WithType(body, index_type, chunk));
    const XlaOp chunk_words =
        xla::DynamicSlice(state[3], {first, xla::Zero(body, index_type)}, {chunk, words});
    const XlaOp indices = xla::Add(
        xla::Iota(body, xla::ShapeUtil::MakeShape(index_type, {q, chunk}), 1), first);
    const XlaOp is_item = xla::Lt(indices, xla::ConstantR0WithType(body, index_type, n));
    const XlaOp distances = xla::Select(
        is_item, DistanceOfWords(state[2], chunk_words, q, chunk, words),
        xla::Broadcast(xla::ConstantR0<int32_t>(body, nowhere), {q, chunk}));
    const XlaOp all_distances = xla::ConcatInDim(body, {state[0], distances}, 1);
    const XlaOp all_indices = xla::ConcatInDim(body, {state[1], indices}, 1);
    const XlaOp nearest = PositionsOfSmallest(all_distances, q, k + chunk, k, nowhere);
    return std::vector<XlaOp>{xla::TorchGather(all_distances, nearest, 1),
                              xla::TorchGather(all_indices, nearest, 1), state[2], state[3]};
  };
  const std::vector<XlaOp> start = {
      xla::Broadcast(xla::ConstantR0<int32_t>(builder, nowhere), {q, k}),
      xla::Broadcast(xla::Zero(builder, index_type), {q, k}), Words(queries), item_words};
  const auto end =
      xla::ForEachIndex(chunks.count, xla::S32, meet, start, "hamming_top_k", builder);
  if (!end.ok()) {
    const XlaOp error = builder->ReportError(end.status());
    return {error, error};
  }
  return {(*end)[0], xla::ConvertElementType((*end)[1], xla::S64)};
}

// One query at a time: its items are sorted by distance and written after those of the previous query.
// Items beyond the radius are overwritten by the next query.
WithinResult Within(const Codes& queries, const Codes& database, XlaOp radius) {
  XlaBuilder* builder = queries.data.builder();
  const int64_t q = queries.count, n = database.count, words = (queries.bytes + 3) / 4;
  if (q == 0 || n == 0) {
    return {xla::Broadcast(xla::Zero(builder, xla::S64), {q + 1}),
            xla::Broadcast(xla::Zero(builder, xla::S32), {0}),
            xla::Broadcast(xla::Zero(builder, xla::S64), {0})};
  }
  const int32_t nowhere = 8 * queries.bytes + 1;
  auto meet = [&](XlaOp step, absl::Span<const XlaOp> state,
                  XlaBuilder* body) -> absl::StatusOr<std::vector<XlaOp>> {
    const XlaOp zero = xla::Zero(body, xla::S32);
    const XlaOp one = xla::One(body, xla::S32);
    const XlaOp query = xla::DynamicSlice(state[4], {step, zero}, {1, words});
    const XlaOp distances =
        xla::Reshape(DistanceOfWords(query, state[5], 1, n, words), {n});
    const XlaOp is_near = xla::Le(xla::ConvertElementType(distances, xla::S64), state[6]);
    const XlaOp found = xla::Select(
        is_near, distances, xla::Broadcast(xla::ConstantR0<int32_t>(body, nowhere), {n}));
    const XlaOp sorted =
        xla::Sort({found, xla::Iota(body, xla::S32, n)},
                  xla::CreateScalarLtComputation({xla::S32, xla::S32}, body), 0,
                  /*is_stable=*/true);
    const XlaOp end =
        xla::Add(state[3], Sum(xla::ConvertElementType(is_near, xla::S32), xla::S32, 0));
    return std::vector<XlaOp>{
        xla::DynamicUpdateSlice(state[0], xla::Reshape(end, {1}), {xla::Add(step, one)}),
        xla::DynamicUpdateSlice(state[1], xla::GetTupleElement(sorted, 0), {state[3]}),
        xla::DynamicUpdateSlice(state[2], xla::GetTupleElement(sorted, 1), {state[3]}),
        end, state[4], state[5], state[6]};
  };
  // Every row is written in full, so the buffer has space for one row after the last.
  const XlaOp zero = xla::Zero(builder, xla::S32);
  const std::vector<XlaOp> start = {xla::Broadcast(zero, {q + 1}),
                                    xla::Broadcast(zero, {q * n + n}),
                                    xla::Broadcast(zero, {q * n + n}),
                                    zero,
                                    Words(queries),
                                    Words(database),
                                    radius};
  const auto end = xla::ForEachIndex(q, xla::S32, meet, start, "hamming_within", builder);
  if (!end.ok()) {
    const XlaOp error = builder->ReportError(end.status());
    return {error, error, error};
  }
  const XlaOp total = (*end)[3];
  auto values = [&](XlaOp padded) {
    return Shortened(xla::SliceInDim(padded, 0, q * n, 1, 0), total);
  };
  return {xla::ConvertElementType((*end)[0], xla::S64), values((*end)[1]),
          xla::ConvertElementType(values((*end)[2]), xla::S64)};
}

XlaOp Shortened(XlaOp vector, XlaOp size) { return xla::SetDimensionSize(vector, size, 0); }

// Processes the items in chunks and compares every distance with every bin.
HistogramResult Histogram(const Codes& queries, const Codes& database, const Labels& labels,
                          int64_t bits) {
  XlaBuilder* builder = queries.data.builder();
  const int64_t q = queries.count, n = database.count, words = (queries.bytes + 3) / 4;
  const int64_t bins = bits + 1;
  const xla::PrimitiveType type = IndexType(n);
  const XlaOp zeros = xla::Broadcast(xla::Zero(builder, type), {q, bins});
  if (q == 0 || n == 0) {
    const XlaOp empty = xla::ConvertElementType(zeros, xla::S64);
    return {empty, empty};
  }
  const auto chunks = CutEvenly(n, std::clamp<int64_t>(kMaxElements / (q * bins), 1, n));
  const int64_t chunk = chunks.size, padded = chunks.size * chunks.count;
  const xla::PrimitiveType index_type = IndexType(padded);
  const xla::PrimitiveType label_type = builder->GetShape(labels.database)->element_type();
  const XlaOp item_words =
      xla::PadInDim(Words(database), xla::Zero(builder, xla::U32), 0, 0, padded - n);
  const XlaOp item_labels =
      xla::PadInDim(labels.database, xla::Zero(builder, label_type), 0, 0, padded - n);

  auto meet = [&](XlaOp step, absl::Span<const XlaOp> state,
                  XlaBuilder* body) -> absl::StatusOr<std::vector<XlaOp>> {
    const XlaOp first = xla::Mul(xla::ConvertElementType(step, index_type),
                                 xla::ConstantR0WithType(body, index_type, chunk));
    auto rows_of_chunk = [&](XlaOp rows, int64_t width) {
      return xla::DynamicSlice(rows, {first, xla::Zero(body, index_type)}, {chunk, width});
    };
    const Labels chunk_labels = {state[4],
                                 labels.are_multi_hot
                                     ? rows_of_chunk(state[5], labels.bytes)
                                     : xla::DynamicSlice(state[5], {first}, {chunk}),
                                 labels.are_multi_hot, labels.bytes};
    const XlaOp indices = xla::Add(
        xla::Iota(body, xla::ShapeUtil::MakeShape(index_type, {q, chunk}), 1), first);
    // Padding after the last item must fall into no bin.
    const XlaOp distances = xla::Select(
        xla::Lt(indices, xla::ConstantR0WithType(body, index_type, n)),
        DistanceOfWords(state[2], rows_of_chunk(state[3], words), q, chunk, words),
        xla::Broadcast(xla::ConstantR0<int32_t>(body, bins), {q, chunk}));
    const XlaOp similar = Similar(chunk_labels, q, chunk);
    const XlaOp is_in = xla::Eq(
        xla::BroadcastInDim(distances, {q, chunk, bins}, {0, 1}),
        xla::Iota(body, xla::ShapeUtil::MakeShape(xla::S32, {q, chunk, bins}), 2));
    const XlaOp is_relevant =
        xla::And(is_in, xla::BroadcastInDim(similar, {q, chunk, bins}, {0, 1}));
    auto add = [&](XlaOp counts, XlaOp marks) {
      return xla::Add(counts, Sum(xla::ConvertElementType(marks, type), type, 1));
    };
    return std::vector<XlaOp>{add(state[0], is_in), add(state[1], is_relevant), state[2],
                              state[3],             state[4],                   state[5]};
  };
  const std::vector<XlaOp> start = {zeros,      zeros,          Words(queries),
                                    item_words, labels.queries, item_labels};
  const auto end =
      xla::ForEachIndex(chunks.count, xla::S32, meet, start, "hamming_histogram", builder);
  if (!end.ok()) {
    const XlaOp error = builder->ReportError(end.status());
    return {error, error};
  }
  return {xla::ConvertElementType((*end)[0], xla::S64),
          xla::ConvertElementType((*end)[1], xla::S64)};
}

}  // namespace tfhash::hlo
