// XLA lowerings of the ops. The distance is always plain HLO. The other ops call typed-FFI handlers on the
// CPU, and on NVIDIA GPUs if the CUDA kernels were compiled; elsewhere they are plain HLO.

#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "core/checks.h"
#include "tf/hlo.h"
#include "tensorflow/compiler/tf2xla/xla_compiler.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "xla/hlo/builder/lib/constants.h"

namespace tfhash {
namespace {

using tensorflow::OpKernelConstruction;
using tensorflow::XlaOpKernel;
using tensorflow::XlaOpKernelContext;
using xla::XlaOp;

#if defined(TFHASH_WITH_CUDA)
constexpr bool kWithCuda = true;
#else
constexpr bool kWithCuda = false;
#endif

// TFHASH_XLA_HANDLERS=0 disables the handlers, so that the plain HLO can be tested on a CPU.
bool HasHandlers(XlaOpKernelContext* context) {
  const char* wanted = std::getenv("TFHASH_XLA_HANDLERS");
  if (wanted != nullptr && std::string(wanted) == "0") return false;
  const tensorflow::DeviceType device = context->compiler()->options().device_type;
  return device == tensorflow::DEVICE_CPU_XLA_JIT ||
         (kWithCuda && device == tensorflow::DEVICE_GPU_XLA_JIT);
}

absl::Status ToStatus(const std::string& error) {
  return error.empty() ? absl::OkStatus() : absl::InvalidArgumentError(error);
}

Dims DimsOf(XlaOpKernelContext* context, int input) {
  const xla::Shape shape = context->InputXlaShape(input).value();
  return {shape.dimensions().begin(), shape.dimensions().end()};
}

hlo::Codes CodesOf(XlaOpKernelContext* context, int input) {
  const Dims dims = DimsOf(context, input);
  return {context->Input(input), dims[0], dims[1]};
}

xla::Shape RowMajor(xla::PrimitiveType type, const Dims& dims) {
  return xla::ShapeUtil::MakeShapeWithDescendingLayout(type, dims);
}

// Calls a handler and returns its results.
std::vector<XlaOp> CallHandler(XlaOpKernelContext* context, const std::string& name,
                               const std::vector<XlaOp>& inputs,
                               const std::vector<xla::Shape>& results,
                               const std::string& attributes = "{}") {
  std::vector<xla::Shape> input_shapes;
  for (const XlaOp input : inputs) {
    const xla::Shape shape = context->builder()->GetShape(input).value();
    const auto sizes = shape.dimensions();
    input_shapes.push_back(RowMajor(shape.element_type(), {sizes.begin(), sizes.end()}));
  }
  const XlaOp call = xla::CustomCallWithLayout(
      context->builder(), name, inputs, xla::ShapeUtil::MakeTupleShape(results), input_shapes,
      attributes, /*has_side_effect=*/false, /*output_operand_aliasing=*/{}, /*literal=*/nullptr,
      xla::CustomCallSchedule::SCHEDULE_NONE, xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
  std::vector<XlaOp> outputs;
  for (size_t i = 0; i < results.size(); ++i) outputs.push_back(xla::GetTupleElement(call, i));
  return outputs;
}

class HammingXlaOp : public XlaOpKernel {
 public:
  using XlaOpKernel::XlaOpKernel;

  void Compile(XlaOpKernelContext* context) final {
    const Dims queries = DimsOf(context, 0), database = DimsOf(context, 1);
    OP_REQUIRES_OK(context, ToStatus(CheckCodes(queries, database)));
    OP_REQUIRES_OK(context, ToStatus(CheckResult(queries[0], database[0])));
    Lower(context, CodesOf(context, 0), CodesOf(context, 1));
  }

 protected:
  virtual void Lower(XlaOpKernelContext* context, const hlo::Codes& queries,
                     const hlo::Codes& database) = 0;
};

class DistanceXlaOp : public HammingXlaOp {
 public:
  using HammingXlaOp::HammingXlaOp;

 private:
  void Lower(XlaOpKernelContext* context, const hlo::Codes& queries,
             const hlo::Codes& database) override {
    context->SetOutput(0, hlo::Distance(queries, database));
  }
};

class TopKXlaOp : public HammingXlaOp {
 public:
  using HammingXlaOp::HammingXlaOp;

 private:
  void Lower(XlaOpKernelContext* context, const hlo::Codes& queries,
             const hlo::Codes& database) override {
    int64_t k;
    OP_REQUIRES_OK(context, context->ConstantInputAsIntScalar("k", &k));
    OP_REQUIRES_OK(context, ToStatus(CheckK(k, database.count)));
    if (HasHandlers(context)) {
      const Dims dims = {queries.count, k};
      const auto results =
          CallHandler(context, "TfhashHammingTopK", {queries.data, database.data},
                      {RowMajor(xla::S32, dims), RowMajor(xla::S64, dims)});
      context->SetOutput(0, results[0]);
      context->SetOutput(1, results[1]);
    } else {
      const hlo::TopKResult result = hlo::TopK(queries, database, k);
      context->SetOutput(0, result.distances);
      context->SetOutput(1, result.indices);
    }
  }
};

class WithinXlaOp : public HammingXlaOp {
 public:
  using HammingXlaOp::HammingXlaOp;

 private:
  void Lower(XlaOpKernelContext* context, const hlo::Codes& queries,
             const hlo::Codes& database) override {
    const Dims radius_dims = DimsOf(context, 2);
    OP_REQUIRES(context, radius_dims.empty(),
                absl::InvalidArgumentError("radius must be a scalar. Received: rank " +
                                           std::to_string(radius_dims.size())));
    // The length of the result is dynamic. XLA allocates the upper bound, and dynamic dimensions are
    // 32-bit.
    constexpr int64_t kMaxPairs = std::numeric_limits<int32_t>::max();
    OP_REQUIRES(context, database.count == 0 || queries.count <= kMaxPairs / database.count,
                absl::InvalidArgumentError(
                    "compiled by XLA, hamming_within takes at most 2^31 - 1 pairs of queries and "
                    "items at a time; call it with fewer queries. Received: " +
                    std::to_string(queries.count) + " queries and " +
                    std::to_string(database.count) + " items"));
    if (HasHandlers(context)) {
      const Dims room = {queries.count * database.count};
      const auto results =
          CallHandler(context, "TfhashHammingWithin",
                      {queries.data, database.data, context->Input(2)},
                      {RowMajor(xla::S64, {queries.count + 1}), RowMajor(xla::S32, room),
                       RowMajor(xla::S64, room), RowMajor(xla::S32, {})},
                      "{fill = false}");
      context->SetOutput(0, results[0]);
      context->SetOutput(1, hlo::Shortened(results[1], results[3]));
      context->SetOutput(2, hlo::Shortened(results[2], results[3]));
    } else {
      const hlo::WithinResult result = hlo::Within(queries, database, context->Input(2));
      context->SetOutput(0, result.row_splits);
      context->SetOutput(1, result.distances);
      context->SetOutput(2, result.indices);
    }
  }
};

class HistogramXlaOp : public HammingXlaOp {
 public:
  explicit HistogramXlaOp(OpKernelConstruction* construction) : HammingXlaOp(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("bits", &bits_));
  }

 private:
  void Lower(XlaOpKernelContext* context, const hlo::Codes& queries,
             const hlo::Codes& database) override {
    const bool is_multi_hot = context->input_type(2) == tensorflow::DT_UINT8;
    OP_REQUIRES_OK(context, ToStatus(CheckBits(bits_, database.bytes)));
    OP_REQUIRES_OK(context,
                   ToStatus(CheckLabels(DimsOf(context, 2), DimsOf(context, 3), is_multi_hot,
                                        queries.count, database.count)));
    if (HasHandlers(context)) {
      const xla::Shape shape = RowMajor(xla::S64, {queries.count, bits_ + 1});
      const auto results = CallHandler(
          context, "TfhashHammingHistogram",
          {queries.data, database.data, context->Input(2), context->Input(3)}, {shape, shape});
      context->SetOutput(0, results[0]);
      context->SetOutput(1, results[1]);
    } else {
      const hlo::Labels labels = {context->Input(2), context->Input(3), is_multi_hot,
                                  is_multi_hot ? DimsOf(context, 2)[1] : 0};
      const hlo::HistogramResult result = hlo::Histogram(queries, database, labels, bits_);
      context->SetOutput(0, result.items);
      context->SetOutput(1, result.relevant);
    }
  }

  int64_t bits_;
};

REGISTER_XLA_OP(Name("TfhashHammingDistance"), DistanceXlaOp);
REGISTER_XLA_OP(Name("TfhashHammingTopK").CompileTimeConstantInput("k"), TopKXlaOp);
REGISTER_XLA_OP(Name("TfhashHammingWithin"), WithinXlaOp);
REGISTER_XLA_OP(Name("TfhashHammingHistogram"), HistogramXlaOp);

// TensorFlow registers kernels for all known lowerings once, when it first enumerates devices. If this
// library is loaded later, for example in a notebook that has already run an op, its kernels are
// registered here.
template <typename Op>
void MakeKernels(const std::string& name) {
  for (const char* device : {tensorflow::DEVICE_CPU_XLA_JIT, tensorflow::DEVICE_GPU_XLA_JIT}) {
    auto* definition = new tensorflow::KernelDef;  // The registrar owns it.
    definition->set_op(name);
    definition->set_device_type(device);
    tensorflow::kernel_factory::OpKernelRegistrar(
        definition, name + "XlaOp",
        [](OpKernelConstruction* construction) -> tensorflow::OpKernel* {
          return new Op(construction);
        });
  }
}

bool AreLoweringsMadeKernels() {
  const tensorflow::KernelList known = tensorflow::GetRegisteredKernelsForOp("AddV2");
  for (const auto& kernel : known.kernel()) {
    if (kernel.device_type() == tensorflow::DEVICE_CPU_XLA_JIT) return true;
  }
  return false;
}

[[maybe_unused]] const bool kMadeKernels = [] {
  if (!AreLoweringsMadeKernels()) return false;
  MakeKernels<DistanceXlaOp>("TfhashHammingDistance");
  MakeKernels<TopKXlaOp>("TfhashHammingTopK");
  MakeKernels<WithinXlaOp>("TfhashHammingWithin");
  MakeKernels<HistogramXlaOp>("TfhashHammingHistogram");
  return true;
}();

}  // namespace
}  // namespace tfhash
