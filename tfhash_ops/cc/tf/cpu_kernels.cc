// CPU kernels of the ops: validate the input, allocate the results, call the core.

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "core/checks.h"
#include "core/hamming.h"
#include "core/kernel.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/platform/threadpool.h"

namespace tfhash {
namespace {

using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;

absl::Status ToStatus(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error);
}

Dims DimsOf(const Tensor& tensor) {
  const auto sizes = tensor.shape().dim_sizes();
  return {sizes.begin(), sizes.end()};
}

Codes CodesOf(const Tensor& tensor) {
  return {tensor.flat<uint8_t>().data(), tensor.dim_size(0), tensor.dim_size(1)};
}

// TensorFlow's intra-op threads.
Executor ExecutorOf(OpKernelContext* context) {
  const auto* workers = context->device()->tensorflow_cpu_worker_threads();
  return {std::max(1, workers->num_threads),
          [pool = workers->workers](std::function<void()> run) { pool->Schedule(std::move(run)); }};
}

// Base class: the first two inputs are codes, compared by a CPU kernel.
class HammingOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) final {
    OP_REQUIRES_OK(context,
                   ToStatus(CheckCodes(DimsOf(context->input(0)), DimsOf(context->input(1)))));
    std::string error;
    const Kernel* kernel = ChooseKernel(&error);
    OP_REQUIRES_OK(context, ToStatus(error));
    try {
      Search(context, *kernel, CodesOf(context->input(0)), CodesOf(context->input(1)));
    } catch (const std::bad_alloc&) {
      context->CtxFailure(absl::ResourceExhaustedError("no memory left for a Hamming search"));
    } catch (const std::exception& error) {
      context->CtxFailure(absl::InternalError(error.what()));
    }
  }

 protected:
  virtual void Search(OpKernelContext* context, const Kernel& kernel, const Codes& queries,
                      const Codes& database) = 0;
};

absl::Status AllocateMatrix(OpKernelContext* context, int output, int64_t rows, int64_t columns,
                            Tensor** matrix) {
  const absl::Status fits = ToStatus(CheckResult(rows, columns));
  if (!fits.ok()) return fits;
  return context->allocate_output(output, TensorShape({rows, columns}), matrix);
}

class DistanceOp : public HammingOp {
 public:
  using HammingOp::HammingOp;

 private:
  void Search(OpKernelContext* context, const Kernel& kernel, const Codes& queries,
              const Codes& database) override {
    Tensor* distances;
    OP_REQUIRES_OK(context, AllocateMatrix(context, 0, queries.count, database.count, &distances));
    HammingDistance(kernel, queries, database, distances->flat<int32_t>().data(),
                    ExecutorOf(context));
  }
};

class TopKOp : public HammingOp {
 public:
  using HammingOp::HammingOp;

 private:
  void Search(OpKernelContext* context, const Kernel& kernel, const Codes& queries,
              const Codes& database) override {
    const Tensor& k_tensor = context->input(2);
    OP_REQUIRES(context, k_tensor.dims() == 0,
                absl::InvalidArgumentError("k must be a scalar. Received: shape " +
                                           k_tensor.shape().DebugString()));
    const int64_t k = k_tensor.scalar<int64_t>()();
    OP_REQUIRES_OK(context, ToStatus(CheckK(k, database.count)));
    Tensor *distances, *indices;
    OP_REQUIRES_OK(context, AllocateMatrix(context, 0, queries.count, k, &distances));
    OP_REQUIRES_OK(context, AllocateMatrix(context, 1, queries.count, k, &indices));
    HammingTopK(kernel, queries, database, k, distances->flat<int32_t>().data(),
                indices->flat<int64_t>().data(), ExecutorOf(context));
  }
};

class WithinOp : public HammingOp {
 public:
  using HammingOp::HammingOp;

 private:
  void Search(OpKernelContext* context, const Kernel& kernel, const Codes& queries,
              const Codes& database) override {
    const Tensor& radius = context->input(2);
    OP_REQUIRES(context, radius.dims() == 0,
                absl::InvalidArgumentError("radius must be a scalar. Received: shape " +
                                           radius.shape().DebugString()));
    OP_REQUIRES_OK(context, ToStatus(CheckRadius(radius.scalar<int64_t>()())));
    const Neighbors neighbors =
        HammingWithin(kernel, queries, database, radius.scalar<int64_t>()(), ExecutorOf(context));
    Output(context, 0, neighbors.row_splits);
    Output(context, 1, neighbors.distances);
    Output(context, 2, neighbors.indices);
  }

  template <typename T>
  static void Output(OpKernelContext* context, int index, const std::vector<T>& values) {
    Tensor* output;
    const int64_t size = values.size();
    OP_REQUIRES_OK(context, context->allocate_output(index, TensorShape({size}), &output));
    std::copy(values.begin(), values.end(), output->flat<T>().data());
  }
};

class HistogramOp : public HammingOp {
 public:
  explicit HistogramOp(OpKernelConstruction* construction) : HammingOp(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("bits", &bits_));
  }

 private:
  void Search(OpKernelContext* context, const Kernel& kernel, const Codes& queries,
              const Codes& database) override {
    const Tensor& query_labels = context->input(2);
    const Tensor& database_labels = context->input(3);
    const bool is_multi_hot = query_labels.dtype() == tensorflow::DT_UINT8;
    OP_REQUIRES_OK(context, ToStatus(CheckBits(bits_, database.bytes)));
    OP_REQUIRES_OK(context,
                   ToStatus(CheckLabels(DimsOf(query_labels), DimsOf(database_labels),
                                        is_multi_hot, queries.count, database.count)));
    OP_REQUIRES_OK(context, ToStatus(CheckPaddingBits(FindPaddingBits(queries, bits_),
                                                      FindPaddingBits(database, bits_), bits_)));

    Tensor *items_tensor, *relevant_tensor;
    OP_REQUIRES_OK(context, AllocateMatrix(context, 0, queries.count, bits_ + 1, &items_tensor));
    OP_REQUIRES_OK(context, AllocateMatrix(context, 1, queries.count, bits_ + 1, &relevant_tensor));
    int64_t* items = items_tensor->flat<int64_t>().data();
    int64_t* relevant = relevant_tensor->flat<int64_t>().data();
    const Executor executor = ExecutorOf(context);
    if (is_multi_hot) {
      HammingHistogram(kernel, queries, database, CodesOf(query_labels), CodesOf(database_labels),
                       bits_, items, relevant, executor);
    } else {
      HammingHistogram(kernel, queries, database, IntegersOf(query_labels).data(),
                       IntegersOf(database_labels).data(), bits_, items, relevant, executor);
    }
  }

  static std::vector<int64_t> IntegersOf(const Tensor& labels) {
    std::vector<int64_t> integers(labels.NumElements());
    if (labels.dtype() == tensorflow::DT_INT32) {
      std::copy_n(labels.flat<int32_t>().data(), integers.size(), integers.data());
    } else {
      std::copy_n(labels.flat<int64_t>().data(), integers.size(), integers.data());
    }
    return integers;
  }

  int64_t bits_;
};

}  // namespace

REGISTER_KERNEL_BUILDER(Name("TfhashHammingDistance").Device(tensorflow::DEVICE_CPU), DistanceOp);
REGISTER_KERNEL_BUILDER(Name("TfhashHammingTopK").Device(tensorflow::DEVICE_CPU), TopKOp);
REGISTER_KERNEL_BUILDER(Name("TfhashHammingWithin").Device(tensorflow::DEVICE_CPU), WithinOp);
REGISTER_KERNEL_BUILDER(Name("TfhashHammingHistogram").Device(tensorflow::DEVICE_CPU),
                        HistogramOp);

}  // namespace tfhash
