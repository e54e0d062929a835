#include "join/join_api.h"

#include <atomic>
#include <memory>
#include <new>

#include "core/hamming.h"
#include "join/near_items.h"

namespace {

using tfhash::Codes;
using tfhash::join::JoinOptions;
using tfhash::join::PairStream;

template <typename Function>
int32_t WithoutExceptions(const Function& function) {
  try {
    function();
    return kTfhashJoinDone;
  } catch (const std::bad_alloc&) {
    return kTfhashJoinOutOfMemory;
  } catch (const tfhash::join::Cancelled&) {
    return kTfhashJoinCancelled;
  } catch (...) {
    return kTfhashJoinFailed;
  }
}

bool IsValid(const TfhashJoinInput& input) {
  return input.count >= 0 && input.count < int64_t{0xFFFFFFFF} && input.bits >= 1 &&
         input.radius >= 0 && input.threads >= 1 && input.most_edges >= 1 &&
         input.kernel != nullptr && (input.codes != nullptr || input.count == 0);
}

Codes CodesOf(const TfhashJoinInput& input) {
  return {input.codes, input.count, (input.bits + 7) / 8};
}

JoinOptions OptionsOf(const TfhashJoinInput& input) {
  static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t), "read as the caller's integer");
  return {input.kernel, input.threads, input.most_edges,
          reinterpret_cast<const std::atomic<int32_t>*>(input.cancelled)};
}

}  // namespace

int32_t TfhashJoinOpen(const TfhashJoinInput* input, void** stream, int64_t* total) {
  *stream = nullptr;
  if (!IsValid(*input)) return kTfhashJoinInvalid;
  return WithoutExceptions([&] {
    auto opened = std::make_unique<PairStream>(CodesOf(*input), input->bits, input->radius,
                                               OptionsOf(*input));
    *total = opened->total();
    *stream = opened.release();
  });
}

int32_t TfhashJoinNext(void* stream, int64_t limit, int64_t* first, int64_t* second,
                       int32_t* distances, int64_t* written) {
  *written = 0;
  return WithoutExceptions([&] {
    *written = static_cast<PairStream*>(stream)->Next(limit, first, second, distances);
  });
}

void TfhashJoinClose(void* stream) { delete static_cast<PairStream*>(stream); }

int32_t TfhashJoinGroups(const TfhashJoinInput* input, int64_t* groups, int32_t* nearest,
                         int32_t* farthest) {
  if (!IsValid(*input)) return kTfhashJoinInvalid;
  return WithoutExceptions([&] {
    tfhash::join::GroupItems(CodesOf(*input), input->bits, input->radius, OptionsOf(*input), groups,
                       nearest, farthest);
  });
}
