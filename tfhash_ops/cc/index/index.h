// A mutable set of codes with ids, of which readers see immutable snapshots.
//
// The items are in segments whose sizes grow at least by a factor of two from each to the one before, and
// in a short tail that new items are appended to. When the tail is full, a segment is built from it and
// from all smaller segments, so that an item is moved O(log n) times.

#ifndef TFHASH_OPS_CC_INDEX_INDEX_H_
#define TFHASH_OPS_CC_INDEX_INDEX_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/parallel.h"
#include "index/nearest.h"

namespace tfhash {

// The parts of an index at one time, largest first.
struct Snapshot {
  int64_t bits = 0;
  std::vector<PartOfIndex> parts;
  int64_t items = 0;
  // Ids that were not given continue here.
  int64_t next_id = 0;

  // Codes and ids in ascending order of the ids; ids alone if `codes` is null.
  void Items(uint8_t* codes, int64_t* ids) const;

  // Memory of the segments and marks, mapped files included.
  int64_t Bytes() const;
};

struct RepeatedIdError {
  int64_t id;
};

struct NoMoreIdsError {};

class Index {
 public:
  // `flat`: no tables, least memory.
  Index(int64_t bits, bool flat);

  std::shared_ptr<const Snapshot> snapshot() const;

  // Adds `count` codes; without ids, they get those from the largest so far on. Returns the first of these.
  // Throws RepeatedIdError.
  int64_t Add(const uint8_t* codes, int64_t count, const int64_t* ids, const Executor& executor);

  // Throws RepeatedIdError if these ids are not new or not different. Adds nothing.
  void CheckIds(const int64_t* ids, int64_t count);

  // Removes items. If ids are unknown or repeated, marks them in `is_unknown`, removes nothing, and
  // returns false.
  bool Remove(const int64_t* ids, int64_t count, uint8_t* is_unknown, const Executor& executor);

  // Rebuilds the index as a single segment without removed items.
  void Merge(const Executor& executor);

  // Takes over a segment, or none if null, and continues ids at `next_id`. REQUIRES: the index is empty
  void Open(std::shared_ptr<const Segment> segment, int64_t next_id);

 private:
  struct Tail;

  // The current snapshot without the tail, to be changed and published.
  std::shared_ptr<Snapshot> Copy() const;
  void Publish(std::shared_ptr<Snapshot> next);
  void CheckNew(const Snapshot& now, const int64_t* ids, int64_t count) const;
  PartOfIndex Build(const std::vector<PartOfIndex>& parts, const uint8_t* codes,
                    const int64_t* ids, int64_t count, const Executor& executor) const;
  PartOfIndex ViewOf(std::shared_ptr<Tail> tail, int64_t count) const;

  const int64_t bits_;
  const int64_t bytes_;
  const bool flat_;

  std::mutex writing_;  // one writer at a time
  std::shared_ptr<Tail> tail_;

  mutable std::mutex mutex_;  // guards the pointer alone
  std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_INDEX_H_
