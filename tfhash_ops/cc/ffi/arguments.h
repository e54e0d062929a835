// Argument handling shared by the FFI handlers of all devices.

#ifndef TFHASH_OPS_CC_FFI_ARGUMENTS_H_
#define TFHASH_OPS_CC_FFI_ARGUMENTS_H_

#include <cstdint>
#include <exception>
#include <new>
#include <string>

#include "core/checks.h"
#include "core/hamming.h"
#include "xla/ffi/api/ffi.h"

namespace tfhash {

namespace ffi = xla::ffi;

// Reported to the user as an invalid argument.
struct InvalidArgument {
  std::string message;
};

inline Dims DimsOf(const ffi::AnyBuffer& buffer) {
  return {buffer.dimensions().begin(), buffer.dimensions().end()};
}

inline Codes CodesOf(const ffi::AnyBuffer& buffer) {
  if (buffer.element_type() != ffi::U8) throw InvalidArgument{"packed codes must be uint8"};
  const Dims dims = DimsOf(buffer);
  return {static_cast<const uint8_t*>(buffer.untyped_data()), dims[0], dims[1]};
}

inline void Require(const std::string& error) {
  if (!error.empty()) throw InvalidArgument{error};
}

// The caller of a handler chooses the shapes of the results; nothing may be written beyond them.
template <typename Buffer>
void RequireShape(ffi::Result<Buffer> result, const Dims& expected) {
  const Dims dims = {result->dimensions().begin(), result->dimensions().end()};
  if (dims != expected) {
    throw InvalidArgument{"a result buffer must have the shape " + ToString(expected) +
                          ". Received: " + ToString(dims)};
  }
}

template <typename Run>
ffi::Error Guarded(const Run& run) {
  try {
    run();
    return ffi::Error::Success();
  } catch (const InvalidArgument& error) {
    return ffi::Error::InvalidArgument(error.message);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "out of memory in a Hamming search");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
}

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_FFI_ARGUMENTS_H_
