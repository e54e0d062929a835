#include "index/index.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "index/build.h"

namespace tfhash {
namespace {

// Items of the tail, which every search scans. Bytes, so that the scan takes about 5 us.
constexpr int64_t kTailBytes = int64_t{1} << 16;
constexpr int64_t kMinTailItems = 64;
// A segment is merged with new items that are at least this part of it.
constexpr int64_t kGrowth = 2;
// A segment is rebuilt when more than one item in so many is removed, or, so that an index keeps to its
// bound, when it takes more than `MostBytes`. Fresh segments are at least 1% below that. If one in a
// damaged file is not, the second number keeps every removal from rebuilding it.
constexpr int64_t kMaxRemovedShare = 4;
constexpr int64_t kMinRemovedShare = 128;

// The bound of the memory of items, see docs/index.md.
int64_t MostBytes(int64_t items, int64_t bytes, bool flat) {
  return flat ? items * (bytes + 8) * 5 / 4 : items * (5 * bytes + 8);
}

bool IsSparse(const PartOfIndex& part, int64_t bytes, bool flat) {
  const int64_t items = part.segment->items(), removed = part.removed_count;
  return removed > items / kMaxRemovedShare ||
         (removed > items / kMinRemovedShare && part.Bytes() > MostBytes(part.items(), bytes, flat));
}

int64_t TailItems(int64_t bytes) { return std::max(kMinTailItems, kTailBytes / (bytes + 8)); }

// Calls visit(code, rank) for all items that are not removed, and checks that they come once each, because
// the segment may be damaged.
template <typename Visit>
void ForEachItem(const PartOfIndex& part, const Visit& visit) {
  const Segment& segment = *part.segment;
  int64_t left = part.items();
  std::vector<bool> seen(segment.items());
  for (int64_t row = 0; row < segment.rows(); ++row) {
    const Range items = segment.ItemsOf(row);
    for (int64_t i = items.begin; i < items.end; ++i) {
      const int64_t rank = segment.RankAt(i);
      if (IsRemoved(part.removed.get(), rank)) continue;
      if (seen[rank]) throw DamagedError("the tables name an item twice");
      seen[rank] = true;
      --left;
      visit(segment.code(0, row), rank);
    }
  }
  if (left != 0) throw DamagedError("the tables lack an item");
}

}  // namespace

// Appended to in place: snapshots see the items that were there when they were taken.
struct Index::Tail {
  Tail(int64_t capacity, int64_t bytes) : codes(capacity * bytes), ids(capacity) {}

  Owned<uint8_t> codes;
  Owned<int64_t> ids;
  int64_t count = 0;
};

void Snapshot::Items(uint8_t* codes, int64_t* ids) const {
  const int64_t bytes = (bits + 7) / 8;
  // Ids of all parts, of which the ranks of a part's items are known only after they are sorted.
  int64_t count = 0;
  for (const PartOfIndex& part : parts) {
    for (int64_t rank = 0; rank < part.segment->items(); ++rank) {
      if (IsRemoved(part.removed.get(), rank)) continue;
      if (count == items) throw DamagedError("there are more ids than items");
      ids[count++] = part.segment->ids[rank];
    }
  }
  if (!std::is_sorted(ids, ids + count)) std::sort(ids, ids + count);
  if (codes == nullptr) return;
  for (const PartOfIndex& part : parts) {
    const View<int64_t>& own = part.segment->ids;
    const bool is_sorted = std::is_sorted(own.begin(), own.end());
    // Both are sorted, so one walk through both finds the places of all ranks.
    std::vector<int64_t> places(is_sorted ? own.size : 0);
    for (int64_t rank = 0, at = 0; rank < static_cast<int64_t>(places.size()); ++rank) {
      while (at < count && ids[at] < own[rank]) ++at;
      places[rank] = at;
    }
    ForEachItem(part, [&](const uint8_t* code, int64_t rank) {
      const int64_t at =
          is_sorted ? places[rank] : std::lower_bound(ids, ids + count, own[rank]) - ids;
      std::memcpy(codes + at * bytes, code, bytes);
    });
  }
}

int64_t Snapshot::Bytes() const {
  int64_t bytes = 0;
  for (const PartOfIndex& part : parts) bytes += part.Bytes();
  return bytes;
}

Index::Index(int64_t bits, bool flat) : bits_(bits), bytes_((bits + 7) / 8), flat_(flat) {
  auto empty = std::make_shared<Snapshot>();
  empty->bits = bits;
  snapshot_ = std::move(empty);
}

std::shared_ptr<const Snapshot> Index::snapshot() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return snapshot_;
}

void Index::Publish(std::shared_ptr<Snapshot> next) {
  next->items = 0;
  for (const PartOfIndex& part : next->parts) next->items += part.items();
  std::stable_sort(next->parts.begin(), next->parts.end(),
                   [](const PartOfIndex& a, const PartOfIndex& b) { return a.items() > b.items(); });
  std::shared_ptr<const Snapshot> published = std::move(next);
  // The old snapshot is destroyed outside the lock.
  std::lock_guard<std::mutex> lock(mutex_);
  snapshot_.swap(published);
}

std::shared_ptr<Snapshot> Index::Copy() const {
  auto copy = std::make_shared<Snapshot>(*snapshot());
  if (tail_ == nullptr) return copy;
  // The tail is put back last, at its new length.
  const uint8_t* data = tail_->codes.data();
  copy->parts.erase(std::remove_if(copy->parts.begin(), copy->parts.end(),
                                   [data](const PartOfIndex& part) {
                                     return part.segment->tables[0].data == data;
                                   }),
                    copy->parts.end());
  return copy;
}

PartOfIndex Index::ViewOf(std::shared_ptr<Tail> tail, int64_t count) const {
  auto segment = std::make_shared<Segment>();
  segment->pieces.bits = bits_;
  segment->pieces.bytes = bytes_;
  segment->is_tail = true;
  segment->ids = {tail->ids.data(), count};
  segment->tables[0] = {tail->codes.data(), count * bytes_};
  // Keeps the tail alive as long as the segment.
  const Segment* view = segment.get();
  return {std::shared_ptr<const Segment>(view, [segment, tail](const Segment*) {}), nullptr, 0};
}

void Index::CheckNew(const Snapshot& now, const int64_t* ids, int64_t count) const {
  std::vector<int64_t> sorted(ids, ids + count);
  if (!std::is_sorted(sorted.begin(), sorted.end())) std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  std::vector<int64_t> tail_ids;
  // For a few ids, the tail is not worth sorting.
  const bool are_few = count <= 8;
  if (tail_ != nullptr) {
    tail_ids.assign(tail_->ids.data(), tail_->ids.data() + tail_->count);
    if (!are_few) std::sort(tail_ids.begin(), tail_ids.end());
  }
  const auto is_known = [&](int64_t id) {
    if (are_few ? std::find(tail_ids.begin(), tail_ids.end(), id) != tail_ids.end()
                : std::binary_search(tail_ids.begin(), tail_ids.end(), id)) {
      return true;
    }
    for (const PartOfIndex& part : now.parts) {
      const int64_t rank = part.segment->FindId(id);
      if (rank >= 0 && !IsRemoved(part.removed.get(), rank)) return true;
    }
    return false;
  };
  const bool is_new = twice == sorted.end() && std::none_of(sorted.begin(), sorted.end(), is_known);
  if (is_new) return;
  // Names the first in the order of the caller.
  std::set<int64_t> seen;
  for (int64_t i = 0; i < count; ++i) {
    if (!seen.insert(ids[i]).second || is_known(ids[i])) throw RepeatedIdError{ids[i]};
  }
}

PartOfIndex Index::Build(const std::vector<PartOfIndex>& parts, const uint8_t* codes,
                         const int64_t* ids, int64_t count, const Executor& executor) const {
  int64_t total = count;
  for (const PartOfIndex& part : parts) total += part.items();
  if (total > kMaxSegmentItems) throw std::length_error("too many items for one segment");
  Owned<uint8_t> all_codes(total * bytes_);
  Owned<int64_t> all_ids(total);
  int64_t at = 0;
  for (const PartOfIndex& part : parts) {
    // In ascending order of the ids, which is the order in which most items are built.
    const Segment& segment = *part.segment;
    std::vector<uint32_t> places;
    if (part.removed) {
      places.resize(segment.items());
      uint32_t place = 0;
      for (int64_t rank = 0; rank < segment.items(); ++rank) {
        places[rank] = place;
        place += !IsRemoved(part.removed.get(), rank);
      }
    }
    ForEachItem(part, [&](const uint8_t* code, int64_t rank) {
      const int64_t place = at + (places.empty() ? rank : int64_t{places[rank]});
      all_ids[place] = segment.ids[rank];
      std::memcpy(all_codes.data() + place * bytes_, code, bytes_);
    });
    at += part.items();
  }
  std::copy_n(codes, count * bytes_, all_codes.data() + at * bytes_);
  std::copy_n(ids, count, all_ids.data() + at);
  return {BuildSegment(std::move(all_codes), std::move(all_ids), bits_, flat_, executor), nullptr, 0};
}

void Index::CheckIds(const int64_t* ids, int64_t count) {
  std::lock_guard<std::mutex> lock(writing_);
  CheckNew(*Copy(), ids, count);
}

int64_t Index::Add(const uint8_t* codes, int64_t count, const int64_t* ids,
                   const Executor& executor) {
  std::lock_guard<std::mutex> lock(writing_);
  std::shared_ptr<Snapshot> next = Copy();
  const int64_t first = next->next_id;
  if (count == 0) return first;
  std::vector<int64_t> made;
  if (ids == nullptr) {
    if (first < 0 || count > std::numeric_limits<int64_t>::max() - first) throw NoMoreIdsError();
    made.resize(count);
    for (int64_t i = 0; i < count; ++i) made[i] = first + i;
    ids = made.data();
  } else {
    CheckNew(*next, ids, count);
  }
  const int64_t largest = *std::max_element(ids, ids + count);
  // -1 once the largest id is in use.
  if (next->next_id >= 0 && largest >= next->next_id) {
    next->next_id = largest == std::numeric_limits<int64_t>::max() ? -1 : largest + 1;
  }
  const int64_t in_tail = tail_ == nullptr ? 0 : tail_->count;
  if (in_tail + count <= TailItems(bytes_)) {
    std::shared_ptr<Tail> tail = tail_;
    if (tail == nullptr) tail = std::make_shared<Tail>(TailItems(bytes_), bytes_);
    std::copy_n(codes, count * bytes_, tail->codes.data() + in_tail * bytes_);
    std::copy_n(ids, count, tail->ids.data() + in_tail);
    next->parts.push_back(ViewOf(tail, in_tail + count));
    // Nothing fails from here on.
    tail->count = in_tail + count;
    tail_ = std::move(tail);
    Publish(std::move(next));
    return first;
  }
  std::vector<PartOfIndex> merged;
  if (in_tail > 0) merged.push_back(ViewOf(tail_, in_tail));
  int64_t size = in_tail + count;
  while (!next->parts.empty() && next->parts.back().items() < kGrowth * size &&
         next->parts.back().items() + size <= kMaxSegmentItems) {
    size += next->parts.back().items();
    merged.insert(merged.begin(), next->parts.back());
    next->parts.pop_back();
  }
  next->parts.push_back(Build(merged, codes, ids, count, executor));
  tail_ = nullptr;
  Publish(std::move(next));
  return first;
}

bool Index::Remove(const int64_t* ids, int64_t count, uint8_t* is_unknown,
                   const Executor& executor) {
  std::lock_guard<std::mutex> lock(writing_);
  std::shared_ptr<Snapshot> next = Copy();
  std::vector<std::vector<uint64_t>> marks(next->parts.size());
  std::vector<std::pair<int64_t, int64_t>> tail_ids;  // id, position
  if (tail_ != nullptr) {
    for (int64_t i = 0; i < tail_->count; ++i) tail_ids.emplace_back(tail_->ids[i], i);
    std::sort(tail_ids.begin(), tail_ids.end());
  }
  std::vector<bool> from_tail(tail_ids.size());
  const auto remove = [&](int64_t id) {
    const auto at = std::lower_bound(tail_ids.begin(), tail_ids.end(), std::make_pair(id, int64_t{0}));
    if (at != tail_ids.end() && at->first == id) {
      if (from_tail[at->second]) return false;
      from_tail[at->second] = true;
      return true;
    }
    for (size_t p = 0; p < next->parts.size(); ++p) {
      PartOfIndex& part = next->parts[p];
      const int64_t rank = part.segment->FindId(id);
      if (rank < 0 || IsRemoved(part.removed.get(), rank)) continue;
      if (marks[p].empty()) {
        if (part.removed) marks[p] = *part.removed;
        marks[p].resize((part.segment->items() + 63) / 64);
      }
      uint64_t& word = marks[p][rank / 64];
      const uint64_t bit = uint64_t{1} << (rank % 64);
      if ((word & bit) != 0) return false;
      word |= bit;
      ++part.removed_count;
      return true;
    }
    return false;
  };
  bool is_known = true;
  for (int64_t i = 0; i < count; ++i) {
    is_unknown[i] = remove(ids[i]) ? 0 : 1;
    is_known = is_known && is_unknown[i] == 0;
  }
  if (!is_known) return false;
  if (count == 0) return true;

  std::vector<PartOfIndex> kept;
  for (size_t p = 0; p < next->parts.size(); ++p) {
    PartOfIndex& part = next->parts[p];
    if (!marks[p].empty()) {
      part.removed = std::make_shared<const std::vector<uint64_t>>(std::move(marks[p]));
    }
    if (part.items() == 0) continue;
    const bool is_sparse = IsSparse(part, bytes_, flat_);
    kept.push_back(is_sparse ? Build({part}, nullptr, nullptr, 0, executor) : part);
  }
  next->parts = std::move(kept);
  std::shared_ptr<Tail> tail = tail_;
  if (std::find(from_tail.begin(), from_tail.end(), true) != from_tail.end()) {
    // A new tail, because snapshots read the old one.
    tail = std::make_shared<Tail>(TailItems(bytes_), bytes_);
    for (int64_t i = 0; i < tail_->count; ++i) {
      if (from_tail[i]) continue;
      std::copy_n(tail_->codes.data() + i * bytes_, bytes_, tail->codes.data() + tail->count * bytes_);
      tail->ids[tail->count++] = tail_->ids[i];
    }
    if (tail->count == 0) tail = nullptr;
  }
  if (tail != nullptr) next->parts.push_back(ViewOf(tail, tail->count));
  tail_ = std::move(tail);
  Publish(std::move(next));
  return true;
}

void Index::Merge(const Executor& executor) {
  std::lock_guard<std::mutex> lock(writing_);
  std::shared_ptr<Snapshot> next = Copy();
  if (tail_ == nullptr && next->parts.size() <= 1 &&
      (next->parts.empty() || next->parts[0].removed_count == 0)) {
    return;
  }
  if (tail_ != nullptr) next->parts.push_back(ViewOf(tail_, tail_->count));
  PartOfIndex merged = Build(next->parts, nullptr, nullptr, 0, executor);
  next->parts.assign(1, std::move(merged));
  tail_ = nullptr;
  Publish(std::move(next));
}

void Index::Open(std::shared_ptr<const Segment> segment, int64_t next_id) {
  std::lock_guard<std::mutex> lock(writing_);
  auto next = std::make_shared<Snapshot>();
  next->bits = bits_;
  next->next_id = next_id;
  if (segment != nullptr) next->parts.push_back({std::move(segment), nullptr, 0});
  Publish(std::move(next));
}

}  // namespace tfhash
