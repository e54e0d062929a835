// The index as C functions, which Python calls through ctypes.
//
// No exception leaves them: those that can fail return a status, and the message of the last failure of
// this thread is at TfhashIndexMessage. All functions may be called from several threads at once.

#ifndef TFHASH_OPS_CC_INDEX_C_API_H_
#define TFHASH_OPS_CC_INDEX_C_API_H_

#include <stdint.h>

extern "C" {

enum TfhashIndexStatus {
  kTfhashIndexOk = 0,
  kTfhashIndexOutOfMemory = 1,
  kTfhashIndexRepeatedId = 2,
  kTfhashIndexUnknownId = 3,
  kTfhashIndexDamaged = 4,
  kTfhashIndexNoMoreIds = 5,
  kTfhashIndexFailed = 6,
};

enum { kTfhashIndexMaxPieces = 4 };

struct TfhashIndex;
struct TfhashIndexSnapshot;
struct TfhashIndexNeighbors;

// The arrays of a segment, see segment.h. Sizes are numbers of elements.
struct TfhashIndexSegment {
  int64_t pieces;
  int64_t key_bits;
  const int64_t* ids;
  int64_t items;
  const uint8_t* tables[kTfhashIndexMaxPieces];
  int64_t rows;
  const uint32_t* directories[kTfhashIndexMaxPieces];
  const uint32_t* ranks;
  int64_t ranks_size;
  const uint64_t* repeats;
  int64_t repeats_size;
  const uint32_t* repeats_before;
  const uint32_t* extras;
  int64_t extras_size;
};

const char* TfhashIndexMessage();

// REQUIRES: bits >= 1
int32_t TfhashIndexNew(int64_t bits, int32_t flat, TfhashIndex** index);
void TfhashIndexFree(TfhashIndex* index);

// Padding bits of codes and queries must be zero. `ids` may be null. `id` becomes the first id of the new
// items, or the repeated one.
int32_t TfhashIndexAdd(TfhashIndex* index, const uint8_t* codes, int64_t count, const int64_t* ids,
                       int64_t threads, int64_t* id);
// kTfhashIndexRepeatedId and the id, as TfhashIndexAdd would return them. Adds nothing.
int32_t TfhashIndexCheckIds(TfhashIndex* index, const int64_t* ids, int64_t count, int64_t* id);
int32_t TfhashIndexRemove(TfhashIndex* index, const int64_t* ids, int64_t count, int64_t threads,
                          uint8_t* is_unknown);
int32_t TfhashIndexMerge(TfhashIndex* index, int64_t threads);

// Reads arrays of the caller, who keeps them as long as TfhashIndexBorrows, and as long as all snapshots
// taken before. Their sizes must fit together as in TfhashIndexSnapshotSegment; their contents may be
// anything. No segment (null) only sets the next id. The index must be empty.
int32_t TfhashIndexOpen(TfhashIndex* index, const TfhashIndexSegment* segment, int64_t next_id);

// 1 if the index reads arrays of TfhashIndexOpen; 0 once its items were built anew, and ever after.
int32_t TfhashIndexBorrows(const TfhashIndex* index);

// The index as it is now; `items` and `next_id` are of the same time.
int32_t TfhashIndexTake(const TfhashIndex* index, TfhashIndexSnapshot** snapshot, int64_t* items,
                        int64_t* next_id);
void TfhashIndexRelease(TfhashIndexSnapshot* snapshot);

int64_t TfhashIndexBytes(const TfhashIndexSnapshot* snapshot);
// REQUIRES: 1 <= k <= items
int32_t TfhashIndexSearch(const TfhashIndexSnapshot* snapshot, const uint8_t* queries,
                          int64_t count, int64_t k, int64_t threads, int32_t* distances,
                          int64_t* ids);
// REQUIRES: radius >= 0. `size` becomes the number of neighbors in all.
int32_t TfhashIndexWithin(const TfhashIndexSnapshot* snapshot, const uint8_t* queries,
                          int64_t count, int64_t radius, int64_t threads,
                          TfhashIndexNeighbors** neighbors, int64_t* size);
// Copies neighbors into arrays of count + 1, size and size elements.
void TfhashIndexCopyNeighbors(const TfhashIndexNeighbors* neighbors, int64_t* row_splits,
                              int32_t* distances, int64_t* ids);
void TfhashIndexFreeNeighbors(TfhashIndexNeighbors* neighbors);
// Codes and ids of all items in ascending order of the ids. `codes` may be null.
int32_t TfhashIndexItems(const TfhashIndexSnapshot* snapshot, uint8_t* codes, int64_t* ids);
// The arrays of an index that TfhashIndexMerge has left as one segment, valid until the snapshot is
// released. Fails if there are more, or none.
int32_t TfhashIndexSnapshotSegment(const TfhashIndexSnapshot* snapshot,
                                   TfhashIndexSegment* segment);
// Reads all arrays; kTfhashIndexDamaged if they contradict each other.
int32_t TfhashIndexValidate(const TfhashIndexSnapshot* snapshot);
}

#endif  // TFHASH_OPS_CC_INDEX_C_API_H_
