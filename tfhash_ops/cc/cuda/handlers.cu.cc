// The ops as typed-FFI handlers of XLA, for platform "CUDA". Arguments and results are those of
// ffi/handlers.cc, in device memory.

#include "cuda/handlers.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "core/checks.h"
#include "cuda/hamming.h"
#include "ffi/arguments.h"

namespace tfhash::cuda {
namespace {

using Stream = ffi::PlatformStream<cudaStream_t>;

// Warps of these kernels that a multiprocessor runs at a time.
constexpr int64_t kWarpsOfMultiprocessor = kBlocksOfMultiprocessor * kWarpsOfBlock;

// Largest alignment that XLA guarantees, and what a piece of a code needs.
constexpr size_t kAlignment = 16;

// Scratch memory of a search.
constexpr int64_t kScratchBytes = int64_t{1} << 28;

Device DeviceOf(cudaStream_t stream, ffi::ScratchAllocator& scratch) {
  int device = 0, multiprocessors = 0;
  Check(cudaGetDevice(&device));
  Check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  return {stream, kWarpsOfMultiprocessor * multiprocessors, kScratchBytes,
          [&scratch](int64_t bytes) { return scratch.Allocate(bytes, kAlignment).value_or(nullptr); }};
}

// Calls run with a typed pointer to an integer result whose values are at most `largest`.
template <typename Run>
void WithIntegers(ffi::Result<ffi::AnyBuffer> result, int64_t largest, const Run& run) {
  if (result->element_type() == ffi::S64) {
    run(static_cast<int64_t*>(result->untyped_data()));
  } else if (result->element_type() == ffi::S32 && largest <= std::numeric_limits<int32_t>::max()) {
    run(static_cast<int32_t*>(result->untyped_data()));
  } else {
    throw InvalidArgument{"indices and counts up to " + std::to_string(largest) +
                          " need an int64 result, or int32 where that is enough"};
  }
}

// A typed pointer to another integer result, which must have the same type as `integers`.
template <typename Index>
Index* AsThose(Index*, ffi::Result<ffi::AnyBuffer> other) {
  if (other->size_bytes() != other->element_count() * sizeof(Index)) {
    throw InvalidArgument{"integer results must all be int64 or all be int32"};
  }
  return static_cast<Index*>(other->untyped_data());
}

int64_t ReadInteger(const ffi::AnyBuffer& buffer, cudaStream_t stream) {
  const bool is_long = buffer.element_type() == ffi::S64;
  if (!is_long && buffer.element_type() != ffi::S32) {
    throw InvalidArgument{"integers must be int32 or int64"};
  }
  int64_t wide = 0;
  int32_t narrow = 0;
  Check(cudaMemcpyAsync(is_long ? static_cast<void*>(&wide) : &narrow, buffer.untyped_data(),
                        is_long ? sizeof(wide) : sizeof(narrow), cudaMemcpyDeviceToHost, stream));
  Check(cudaStreamSynchronize(stream));
  return is_long ? wide : narrow;
}

ffi::Error Distance(cudaStream_t stream, ffi::ScratchAllocator scratch, ffi::AnyBuffer queries,
                    ffi::AnyBuffer database, ffi::Result<ffi::Buffer<ffi::S32>> distances) {
  return Guarded([&] {
    Require(CheckCodes(DimsOf(queries), DimsOf(database)));
    const Codes query_codes = CodesOf(queries), items = CodesOf(database);
    RequireShape(distances, {query_codes.count, items.count});
    HammingDistance(DeviceOf(stream, scratch), query_codes, items, distances->typed_data());
  });
}

ffi::Error TopK(cudaStream_t stream, ffi::ScratchAllocator scratch, ffi::AnyBuffer queries,
                ffi::AnyBuffer database, ffi::Result<ffi::BufferR2<ffi::S32>> distances,
                ffi::Result<ffi::AnyBuffer> indices) {
  return Guarded([&] {
    Require(CheckCodes(DimsOf(queries), DimsOf(database)));
    const Codes query_codes = CodesOf(queries), items = CodesOf(database);
    const int64_t k = distances->dimensions()[1];
    Require(CheckK(k, items.count));
    if (k > kMaxK || items.count > kMaxItems) {
      throw InvalidArgument{"on a GPU, at most the nearest 2^29 of 2^32 - 1 items can be found. "
                            "Received: k = " +
                            std::to_string(k) + " and " + std::to_string(items.count) + " items"};
    }
    RequireShape(distances, {query_codes.count, k});
    RequireShape(indices, {query_codes.count, k});
    WithIntegers(indices, items.count, [&](auto* places) {
      HammingTopK(DeviceOf(stream, scratch), query_codes, items, k, distances->typed_data(),
                  places);
    });
  });
}

ffi::Error Within(cudaStream_t stream, ffi::ScratchAllocator scratch, ffi::AnyBuffer queries,
                  ffi::AnyBuffer database, ffi::AnyBuffer radius,
                  ffi::Result<ffi::AnyBuffer> row_splits,
                  ffi::Result<ffi::BufferR1<ffi::S32>> distances,
                  ffi::Result<ffi::AnyBuffer> indices, ffi::Result<ffi::BufferR0<ffi::S32>> total,
                  bool fill) {
  return Guarded([&] {
    Require(CheckCodes(DimsOf(queries), DimsOf(database)));
    if (radius.element_count() != 1) throw InvalidArgument{"radius must be a scalar"};
    const int64_t largest_distance = ReadInteger(radius, stream);
    Require(CheckRadius(largest_distance));
    const Codes query_codes = CodesOf(queries), items = CodesOf(database);
    const int64_t size = distances->element_count();
    RequireShape(row_splits, {query_codes.count + 1});
    RequireShape(indices, {size});
    WithIntegers(indices, items.count, [](auto*) {});
    const Device device = DeviceOf(stream, scratch);
    WithIntegers(row_splits, 0, [&](auto* splits) {
      auto* places = AsThose(splits, indices);
      const int64_t found = HammingWithin(device, query_codes, items, largest_distance, size,
                                          splits, distances->typed_data(), places);
      WithIntegers(row_splits, found, [](auto*) {});
      if (fill) FillUp(device, std::min(found, size), size, distances->typed_data(), places);
      const int32_t kept = static_cast<int32_t>(std::min(found, size));
      Check(cudaMemcpyAsync(total->typed_data(), &kept, sizeof(kept), cudaMemcpyHostToDevice,
                            stream));
      Check(cudaStreamSynchronize(stream));
    });
  });
}

ffi::Error Histogram(cudaStream_t stream, ffi::ScratchAllocator scratch, ffi::AnyBuffer queries,
                     ffi::AnyBuffer database, ffi::AnyBuffer query_labels,
                     ffi::AnyBuffer database_labels, ffi::Result<ffi::AnyBuffer> items,
                     ffi::Result<ffi::AnyBuffer> relevant) {
  return Guarded([&] {
    Require(CheckCodes(DimsOf(queries), DimsOf(database)));
    const Codes query_codes = CodesOf(queries), item_codes = CodesOf(database);
    const int64_t bits = items->dimensions().size() == 2 ? items->dimensions()[1] - 1 : 0;
    Require(CheckBits(bits, item_codes.bytes));
    RequireShape(items, {query_codes.count, bits + 1});
    RequireShape(relevant, {query_codes.count, bits + 1});
    const ffi::DataType type = query_labels.element_type();
    if (database_labels.element_type() != type) {
      throw InvalidArgument{"labels of queries and items must have the same type"};
    }
    Require(CheckLabels(DimsOf(query_labels), DimsOf(database_labels), type == ffi::U8,
                        query_codes.count, item_codes.count));
    const Device device = DeviceOf(stream, scratch);
    Require(CheckPaddingBits(FindPaddingBits(device, query_codes, bits),
                             FindPaddingBits(device, item_codes, bits), bits));
    WithIntegers(items, item_codes.count, [&](auto* all) {
      auto* same = AsThose(all, relevant);
      const auto count = [&](const auto& asked, const auto& marks) {
        HammingHistogram(device, query_codes, item_codes, asked, marks, bits, all, same);
      };
      if (type == ffi::U8) {
        count(CodesOf(query_labels), CodesOf(database_labels));
      } else if (type == ffi::S32) {
        count(static_cast<const int32_t*>(query_labels.untyped_data()),
              static_cast<const int32_t*>(database_labels.untyped_data()));
      } else if (type == ffi::S64) {
        count(static_cast<const int64_t*>(query_labels.untyped_data()),
              static_cast<const int64_t*>(database_labels.untyped_data()));
      } else {
        throw InvalidArgument{"integers must be int32 or int64"};
      }
    });
  });
}

}  // namespace
}  // namespace tfhash::cuda

XLA_FFI_DEFINE_HANDLER_SYMBOL(TfhashCudaHammingDistance, tfhash::cuda::Distance,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<tfhash::cuda::Stream>()
                                  .Ctx<xla::ffi::ScratchAllocator>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(TfhashCudaHammingTopK, tfhash::cuda::TopK,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<tfhash::cuda::Stream>()
                                  .Ctx<xla::ffi::ScratchAllocator>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::BufferR2<xla::ffi::S32>>()
                                  .Ret<xla::ffi::AnyBuffer>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(TfhashCudaHammingWithin, tfhash::cuda::Within,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<tfhash::cuda::Stream>()
                                  .Ctx<xla::ffi::ScratchAllocator>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::BufferR1<xla::ffi::S32>>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::BufferR0<xla::ffi::S32>>()
                                  .Attr<bool>("fill"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(TfhashCudaHammingHistogram, tfhash::cuda::Histogram,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<tfhash::cuda::Stream>()
                                  .Ctx<xla::ffi::ScratchAllocator>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::AnyBuffer>());
