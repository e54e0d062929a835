// The join as C functions, for Python. None throws.

#ifndef TFHASH_OPS_CC_JOIN_JOIN_API_H_
#define TFHASH_OPS_CC_JOIN_JOIN_API_H_

#include <cstdint>

extern "C" {

// What the functions return.
enum TfhashJoinStatus {
  kTfhashJoinDone = 0,
  kTfhashJoinOutOfMemory = 1,
  kTfhashJoinCancelled = 2,
  kTfhashJoinFailed = 3,
  kTfhashJoinInvalid = 4,  // an argument is out of bounds
};

// Packed codes and how to join them. `codes` holds count * ceil(bits / 8) bytes, padding bits zero.
struct TfhashJoinInput {
  const uint8_t* codes;
  int64_t count;       // 0 to 2^32 - 2
  int64_t bits;        // >= 1
  int64_t radius;      // >= 0
  int64_t threads;     // >= 1
  int64_t most_edges;  // >= 1; pairs of distinct codes that may be kept in memory
  const char* kernel;  // what TfhashCpuKernel returns
  // Another thread may set it to anything but 0, to end the join early. May be null.
  const int32_t* cancelled;
};

// Starts a stream of pairs and counts them all. `stream` is to be given to TfhashJoinClose.
int32_t TfhashJoinOpen(const TfhashJoinInput* input, void** stream, int64_t* total);

// Writes the next pairs of items, up to `limit`, in ascending order; `written` is 0 at the end.
int32_t TfhashJoinNext(void* stream, int64_t limit, int64_t* first, int64_t* second,
                       int32_t* distances, int64_t* written);

void TfhashJoinClose(void* stream);

// Writes `count` values to each array: the smallest item of the group of each item, and the smallest
// and largest distance found in it; -1 where an item is in no group.
int32_t TfhashJoinGroups(const TfhashJoinInput* input, int64_t* groups, int32_t* nearest,
                         int32_t* farthest);
}

#endif  // TFHASH_OPS_CC_JOIN_JOIN_API_H_
