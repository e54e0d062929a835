// The ops as typed-FFI handlers of XLA, for platform "Host", without TensorFlow: the same symbols serve
// TensorFlow's XLA and JAX.
//
// k and bits are taken from the shapes of the result buffers. Indices and counts may be int64 or int32,
// because JAX has no int64 by default.

#include "ffi/handlers.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "core/kernel.h"
#include "ffi/arguments.h"

namespace tfhash {
namespace {

Executor ExecutorOf(ffi::ThreadPool& threads) {
  return {std::max<int64_t>(1, threads.num_threads()),
          [&threads](std::function<void()> run) { threads.Schedule(std::move(run)); }};
}

const Kernel& RequireKernel() {
  std::string error;
  const Kernel* kernel = ChooseKernel(&error);
  if (kernel == nullptr) throw InvalidArgument{error};
  return *kernel;
}

// An integer result that is written as int64 and converted to the type that the caller wants.
class IntegerResult {
 public:
  // REQUIRES: no value written is above `largest`
  IntegerResult(ffi::Result<ffi::AnyBuffer> buffer, int64_t largest) : buffer_(buffer) {
    if (buffer->element_type() == ffi::S64) return;
    if (buffer->element_type() != ffi::S32 || largest > std::numeric_limits<int32_t>::max()) {
      throw InvalidArgument{"indices and counts up to " + std::to_string(largest) +
                            " need an int64 result, or int32 where that is enough"};
    }
    wide_.resize(buffer->element_count());
  }

  int64_t* data() {
    return wide_.empty() ? static_cast<int64_t*>(buffer_->untyped_data()) : wide_.data();
  }

  void Finish() {
    std::copy(wide_.begin(), wide_.end(), static_cast<int32_t*>(buffer_->untyped_data()));
  }

 private:
  ffi::Result<ffi::AnyBuffer> buffer_;
  std::vector<int64_t> wide_;
};

std::vector<int64_t> IntegersOf(const ffi::AnyBuffer& buffer) {
  std::vector<int64_t> integers(buffer.element_count());
  if (buffer.element_type() == ffi::S32) {
    std::copy_n(static_cast<const int32_t*>(buffer.untyped_data()), integers.size(),
                integers.data());
  } else if (buffer.element_type() == ffi::S64) {
    std::copy_n(static_cast<const int64_t*>(buffer.untyped_data()), integers.size(),
                integers.data());
  } else {
    throw InvalidArgument{"integers must be int32 or int64"};
  }
  return integers;
}

ffi::Error Distance(ffi::ThreadPool threads, ffi::AnyBuffer queries, ffi::AnyBuffer database,
                    ffi::Result<ffi::Buffer<ffi::S32>> distances) {
  return Guarded([&] {
    Require(CheckCodes(DimsOf(queries), DimsOf(database)));
    const Codes query_codes = CodesOf(queries), items = CodesOf(database);
    RequireShape(distances, {query_codes.count, items.count});
    HammingDistance(RequireKernel(), query_codes, items, distances->typed_data(),
                    ExecutorOf(threads));
  });
}

ffi::Error TopK(ffi::ThreadPool threads, ffi::AnyBuffer queries, ffi::AnyBuffer database,
                ffi::Result<ffi::BufferR2<ffi::S32>> distances,
                ffi::Result<ffi::AnyBuffer> indices) {
  return Guarded([&] {
    Require(CheckCodes(DimsOf(queries), DimsOf(database)));
    const Codes query_codes = CodesOf(queries), items = CodesOf(database);
    const int64_t k = distances->dimensions()[1];
    Require(CheckK(k, items.count));
    RequireShape(distances, {query_codes.count, k});
    RequireShape(indices, {query_codes.count, k});
    IntegerResult wide_indices(indices, items.count);
    HammingTopK(RequireKernel(), query_codes, items, k, distances->typed_data(),
                wide_indices.data(), ExecutorOf(threads));
    wide_indices.Finish();
  });
}

// Pairs of queries and items compared by one search within a radius. All of them may be neighbors that
// take memory, even if the results have space for few; on the other hand, the search is faster for many
// queries at a time.
constexpr int64_t kPairsAtOnce = int64_t{1} << 26;
constexpr int64_t kLeastQueriesAtOnce = 64;

// The results have space for `size` neighbors. Further neighbors are dropped but counted in row_splits.
// With `fill`, unused places are set to -1.
ffi::Error Within(ffi::ThreadPool threads, ffi::AnyBuffer queries, ffi::AnyBuffer database,
                  ffi::AnyBuffer radius, ffi::Result<ffi::AnyBuffer> row_splits,
                  ffi::Result<ffi::BufferR1<ffi::S32>> distances,
                  ffi::Result<ffi::AnyBuffer> indices, ffi::Result<ffi::BufferR0<ffi::S32>> total,
                  bool fill) {
  return Guarded([&] {
    Require(CheckCodes(DimsOf(queries), DimsOf(database)));
    const std::vector<int64_t> radii = IntegersOf(radius);
    if (radii.size() != 1) throw InvalidArgument{"radius must be a scalar"};
    Require(CheckRadius(radii[0]));
    const Codes query_codes = CodesOf(queries), items = CodesOf(database);
    const int64_t size = distances->element_count();
    RequireShape(row_splits, {query_codes.count + 1});
    RequireShape(indices, {size});
    IntegerResult wide_indices(indices, items.count);
    std::vector<int64_t> splits = {0};
    int64_t kept = 0;
    const int64_t at_once =
        std::max(kLeastQueriesAtOnce, kPairsAtOnce / std::max<int64_t>(1, items.count));
    for (int64_t first = 0; first < query_codes.count; first += at_once) {
      const Codes some = {query_codes[first], std::min(at_once, query_codes.count - first),
                          query_codes.bytes};
      const Neighbors neighbors =
          HammingWithin(RequireKernel(), some, items, radii[0], ExecutorOf(threads));
      const int64_t found = splits.back();
      for (int64_t i = 1; i <= some.count; ++i) splits.push_back(found + neighbors.row_splits[i]);
      const int64_t room = std::min(size - kept, neighbors.row_splits.back());
      std::copy_n(neighbors.distances.begin(), room, distances->typed_data() + kept);
      std::copy_n(neighbors.indices.begin(), room, wide_indices.data() + kept);
      kept += room;
    }
    IntegerResult wide_splits(row_splits, splits.back());
    std::copy(splits.begin(), splits.end(), wide_splits.data());
    wide_splits.Finish();
    if (fill) {
      std::fill(distances->typed_data() + kept, distances->typed_data() + size, -1);
      std::fill(wide_indices.data() + kept, wide_indices.data() + size, -1);
    }
    wide_indices.Finish();
    *total->typed_data() = static_cast<int32_t>(kept);
  });
}

ffi::Error Histogram(ffi::ThreadPool threads, ffi::AnyBuffer queries, ffi::AnyBuffer database,
                     ffi::AnyBuffer query_labels, ffi::AnyBuffer database_labels,
                     ffi::Result<ffi::AnyBuffer> items, ffi::Result<ffi::AnyBuffer> relevant) {
  return Guarded([&] {
    Require(CheckCodes(DimsOf(queries), DimsOf(database)));
    const Codes query_codes = CodesOf(queries);
    const Codes item_codes = CodesOf(database);
    const int64_t bits = items->dimensions().size() == 2 ? items->dimensions()[1] - 1 : 0;
    Require(CheckBits(bits, item_codes.bytes));
    RequireShape(items, {query_codes.count, bits + 1});
    RequireShape(relevant, {query_codes.count, bits + 1});
    const bool is_multi_hot = query_labels.element_type() == ffi::U8;
    Require(CheckLabels(DimsOf(query_labels), DimsOf(database_labels), is_multi_hot,
                        query_codes.count, item_codes.count));
    Require(CheckPaddingBits(FindPaddingBits(query_codes, bits), FindPaddingBits(item_codes, bits),
                             bits));
    IntegerResult wide_items(items, item_codes.count), wide_relevant(relevant, item_codes.count);
    if (is_multi_hot) {
      HammingHistogram(RequireKernel(), query_codes, item_codes, CodesOf(query_labels),
                       CodesOf(database_labels), bits, wide_items.data(), wide_relevant.data(),
                       ExecutorOf(threads));
    } else {
      HammingHistogram(RequireKernel(), query_codes, item_codes, IntegersOf(query_labels).data(),
                       IntegersOf(database_labels).data(), bits, wide_items.data(),
                       wide_relevant.data(), ExecutorOf(threads));
    }
    wide_items.Finish();
    wide_relevant.Finish();
  });
}

}  // namespace
}  // namespace tfhash

XLA_FFI_DEFINE_HANDLER_SYMBOL(TfhashHammingDistance, tfhash::Distance,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(TfhashHammingTopK, tfhash::TopK,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::BufferR2<xla::ffi::S32>>()
                                  .Ret<xla::ffi::AnyBuffer>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(TfhashHammingWithin, tfhash::Within,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::BufferR1<xla::ffi::S32>>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::BufferR0<xla::ffi::S32>>()
                                  .Attr<bool>("fill"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(TfhashHammingHistogram, tfhash::Histogram,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>());
