#include "index/nearest.h"

#include <algorithm>
#include <utility>

namespace tfhash {

void Nearest::Count(int32_t distance, int64_t items) {
  if (k_ == 0) return;
  counts_[distance] += items;
  within_ += items;
  while (limit_ >= 0 && within_ - counts_[limit_] >= k_) within_ -= counts_[limit_--];
}

int64_t Nearest::RowInTable0(const Row& row) const {
  if (row.table == 0) return row.row;
  const Segment& segment = *part_->segment;
  const int64_t found = segment.FindRow(segment.code(row.table, row.row));
  if (found < 0) throw DamagedError("a code of one table is missing in another");
  return found;
}

void Nearest::Push(int32_t distance, int p, int64_t row) {
  Row found{distance, p, row};
  if (counts_rows_) {
    Count(distance, 1);
  } else {
    found.row = RowInTable0(found);
    found.table = 0;
    const Segment& segment = *part_->segment;
    const Range items = segment.ItemsOf(found.row);
    int64_t count = items.size();
    if (part_->removed) {
      count = 0;
      for (int64_t i = items.begin; i < items.end && (k_ == 0 || count < k_); ++i) {
        count += !IsRemoved(part_->removed.get(), segment.RankAt(i));
      }
    }
    if (count == 0) return;
    Count(distance, count);
  }
  rows_.push_back(found);
  if (static_cast<int64_t>(rows_.size()) >= 2 * k_ + kSlack) Resolve();
}

void Nearest::Resolve() {
  for (const Row& row : rows_) {
    if (row.distance > limit_) continue;
    const Segment& segment = *part_->segment;
    const Range items = segment.ItemsOf(RowInTable0(row));
    int64_t taken = 0;
    // In ascending order of the ids, so the first k suffice.
    for (int64_t i = items.begin; i < items.end && (k_ == 0 || taken < k_); ++i) {
      const int64_t rank = segment.RankAt(i);
      if (IsRemoved(part_->removed.get(), rank)) continue;
      neighbors_.push_back({row.distance, static_cast<uint32_t>(part_index_), segment.ids[rank]});
      ++taken;
    }
    if (k_ > 0 && static_cast<int64_t>(neighbors_.size()) >= 4 * k_ + 4 * kSlack) Prune();
  }
  rows_.clear();
}

void Nearest::Prune() {
  if (k_ == 0 || static_cast<int64_t>(neighbors_.size()) <= k_) return;
  std::nth_element(neighbors_.begin(), neighbors_.begin() + (k_ - 1), neighbors_.end());
  neighbors_.resize(k_);
}

void Nearest::Restart() {
  rows_.clear();
  const auto is_of_part = [this](const Neighbor& neighbor) {
    return neighbor.part == static_cast<uint32_t>(part_index_);
  };
  neighbors_.erase(std::remove_if(neighbors_.begin(), neighbors_.end(), is_of_part),
                   neighbors_.end());
  if (k_ == 0) return;
  std::fill(counts_.begin(), counts_.end(), 0);
  within_ = 0;
  for (const Neighbor& neighbor : neighbors_) {
    if (neighbor.distance > limit_) continue;
    ++counts_[neighbor.distance];
    ++within_;
  }
}

std::vector<Neighbor> Nearest::Finish() {
  Resolve();
  Prune();
  SortNeighbors(&neighbors_);
  return std::move(neighbors_);
}

Nearest Nearest::Fork() const {
  Nearest fork(k_, static_cast<int64_t>(counts_.size()) - 1, limit_);
  fork.part_ = part_;
  fork.part_index_ = part_index_;
  fork.counts_rows_ = counts_rows_;
  return fork;
}

void Nearest::Join(Nearest* fork) {
  Resolve();
  fork->Resolve();
  for (const Neighbor& neighbor : fork->neighbors_) {
    if (neighbor.distance > limit_) continue;
    neighbors_.push_back(neighbor);
    if (k_ > 0) Count(neighbor.distance, 1);
  }
  Prune();
}

}  // namespace tfhash
