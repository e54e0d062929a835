#include "index/c_api.h"

#include <algorithm>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "core/kernel.h"
#include "index/index.h"
#include "index/search.h"

struct TfhashIndex {
  TfhashIndex(int64_t bits, bool flat) : bits(bits), index(bits, flat) {}
  int64_t bits;
  tfhash::Index index;
};

struct TfhashIndexSnapshot {
  std::shared_ptr<const tfhash::Snapshot> snapshot;
};

struct TfhashIndexNeighbors {
  tfhash::Neighbors neighbors;
};

namespace tfhash {
namespace {

static_assert(kMaxPieces == kTfhashIndexMaxPieces, "tables of a segment");

// Of a fixed size, so that running out of memory can be reported.
thread_local char last_message[512] = "";

int32_t Fail(TfhashIndexStatus status, const char* message) {
  const size_t length = std::min(std::char_traits<char>::length(message), sizeof(last_message) - 1);
  std::copy_n(message, length, last_message);
  last_message[length] = '\0';
  return status;
}

// Calls a function and turns exceptions into a status.
template <typename Function>
int32_t Guard(const Function& function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return Fail(kTfhashIndexOutOfMemory, "there is not enough memory");
  } catch (const DamagedError& error) {
    return Fail(kTfhashIndexDamaged, error.what());
  } catch (const NoMoreIdsError&) {
    return Fail(kTfhashIndexNoMoreIds, "there are no ids after the largest one");
  } catch (const std::exception& error) {
    return Fail(kTfhashIndexFailed, error.what());
  } catch (...) {
    return Fail(kTfhashIndexFailed, "unknown exception");
  }
}

// As `Guard`, for functions that may meet an id again.
template <typename Function>
int32_t NamingRepeatedId(int64_t* id, const Function& function) {
  return Guard([&]() -> int32_t {
    try {
      function();
    } catch (const RepeatedIdError& error) {
      *id = error.id;
      return Fail(kTfhashIndexRepeatedId, "an id is not new");
    }
    return kTfhashIndexOk;
  });
}

Executor Threads(int64_t threads) {
  return {std::max<int64_t>(threads, 1),
          [](std::function<void()> run) { std::thread(std::move(run)).detach(); }};
}

const Kernel& KernelInUse() {
  std::string error;
  const Kernel* kernel = ChooseKernel(&error);
  if (kernel == nullptr) throw std::invalid_argument(error);
  return *kernel;
}

std::shared_ptr<const Segment> ViewOf(const TfhashIndexSegment& from, int64_t bits) {
  auto segment = std::make_shared<Segment>();
  segment->pieces.bits = bits;
  segment->pieces.bytes = (bits + 7) / 8;
  segment->pieces.count = static_cast<int>(from.pieces);
  segment->pieces.key_bits = static_cast<int>(from.key_bits);
  segment->is_borrowed = true;
  segment->ids = {from.ids, from.items};
  segment->tables[0] = {from.tables[0], from.rows * segment->pieces.bytes};
  for (int p = 0; p < segment->pieces.count; ++p) {
    segment->tables[p] = {from.tables[p], from.rows * segment->pieces.bytes};
    segment->directories[p] = {from.directories[p], segment->pieces.directory_size()};
  }
  segment->ranks = {from.ranks, from.ranks_size};
  segment->repeats = {from.repeats, from.repeats_size};
  segment->repeats_before = {from.repeats_before, from.repeats_size};
  segment->extras = {from.extras, from.extras_size};
  return segment;
}

// Whether sizes fit together, so that no clamped position is outside of its array.
bool SizesFit(const TfhashIndexSegment& segment, int64_t bits) {
  const bool is_flat = segment.pieces == 0;
  const bool repeats = segment.repeats_size > 0;
  if (segment.items < 1 || segment.rows < 1 || segment.rows > segment.items) return false;
  if (segment.items > static_cast<int64_t>(UINT32_MAX) - 1) return false;
  if (is_flat) return segment.rows == segment.items && segment.ranks_size == 0 && !repeats;
  return segment.pieces >= 1 && segment.pieces <= kMaxPieces && segment.key_bits >= 1 &&
         segment.key_bits <= kMaxKeyBits && segment.key_bits * segment.pieces <= bits &&
         segment.ranks_size == segment.items &&
         (repeats ? segment.repeats_size == (segment.rows + 63) / 64 && segment.extras_size >= 1
                  : segment.rows == segment.items);
}

}  // namespace
}  // namespace tfhash

using tfhash::Guard;
using tfhash::NamingRepeatedId;

const char* TfhashIndexMessage() { return tfhash::last_message; }

int32_t TfhashIndexNew(int64_t bits, int32_t flat, TfhashIndex** index) {
  return Guard([&] {
    *index = new TfhashIndex(bits, flat != 0);
    return kTfhashIndexOk;
  });
}

void TfhashIndexFree(TfhashIndex* index) { delete index; }

int32_t TfhashIndexAdd(TfhashIndex* index, const uint8_t* codes, int64_t count, const int64_t* ids,
                       int64_t threads, int64_t* id) {
  return NamingRepeatedId(
      id, [&] { *id = index->index.Add(codes, count, ids, tfhash::Threads(threads)); });
}

int32_t TfhashIndexCheckIds(TfhashIndex* index, const int64_t* ids, int64_t count, int64_t* id) {
  return NamingRepeatedId(id, [&] { index->index.CheckIds(ids, count); });
}

int32_t TfhashIndexRemove(TfhashIndex* index, const int64_t* ids, int64_t count, int64_t threads,
                          uint8_t* is_unknown) {
  return Guard([&]() -> int32_t {
    if (index->index.Remove(ids, count, is_unknown, tfhash::Threads(threads))) return kTfhashIndexOk;
    return tfhash::Fail(kTfhashIndexUnknownId, "an id is unknown");
  });
}

int32_t TfhashIndexMerge(TfhashIndex* index, int64_t threads) {
  return Guard([&] {
    index->index.Merge(tfhash::Threads(threads));
    return kTfhashIndexOk;
  });
}

int32_t TfhashIndexOpen(TfhashIndex* index, const TfhashIndexSegment* segment, int64_t next_id) {
  return Guard([&]() -> int32_t {
    if (segment == nullptr) {
      index->index.Open(nullptr, next_id);
      return kTfhashIndexOk;
    }
    if (!tfhash::SizesFit(*segment, index->bits)) {
      return tfhash::Fail(kTfhashIndexDamaged, "the sizes of the arrays do not fit together");
    }
    index->index.Open(tfhash::ViewOf(*segment, index->bits), next_id);
    return kTfhashIndexOk;
  });
}

int32_t TfhashIndexBorrows(const TfhashIndex* index) {
  const auto snapshot = index->index.snapshot();
  return std::any_of(snapshot->parts.begin(), snapshot->parts.end(),
                     [](const tfhash::PartOfIndex& part) { return part.segment->is_borrowed; });
}

int32_t TfhashIndexTake(const TfhashIndex* index, TfhashIndexSnapshot** snapshot, int64_t* items,
                        int64_t* next_id) {
  return Guard([&] {
    *snapshot = new TfhashIndexSnapshot{index->index.snapshot()};
    *items = (*snapshot)->snapshot->items;
    *next_id = (*snapshot)->snapshot->next_id;
    return kTfhashIndexOk;
  });
}

void TfhashIndexRelease(TfhashIndexSnapshot* snapshot) { delete snapshot; }

int64_t TfhashIndexBytes(const TfhashIndexSnapshot* snapshot) {
  return snapshot->snapshot->Bytes();
}

int32_t TfhashIndexSearch(const TfhashIndexSnapshot* snapshot, const uint8_t* queries,
                          int64_t count, int64_t k, int64_t threads, int32_t* distances,
                          int64_t* ids) {
  return Guard([&] {
    const tfhash::Snapshot& from = *snapshot->snapshot;
    tfhash::SearchTopK(tfhash::KernelInUse(), from.parts, {queries, count, (from.bits + 7) / 8},
                       from.bits, k, distances, ids, tfhash::Threads(threads));
    return kTfhashIndexOk;
  });
}

int32_t TfhashIndexWithin(const TfhashIndexSnapshot* snapshot, const uint8_t* queries,
                          int64_t count, int64_t radius, int64_t threads,
                          TfhashIndexNeighbors** neighbors, int64_t* size) {
  return Guard([&] {
    const tfhash::Snapshot& from = *snapshot->snapshot;
    *neighbors = new TfhashIndexNeighbors{
        tfhash::SearchWithin(tfhash::KernelInUse(), from.parts,
                             {queries, count, (from.bits + 7) / 8}, from.bits, radius,
                             tfhash::Threads(threads))};
    *size = (*neighbors)->neighbors.row_splits.back();
    return kTfhashIndexOk;
  });
}

void TfhashIndexCopyNeighbors(const TfhashIndexNeighbors* neighbors, int64_t* row_splits,
                              int32_t* distances, int64_t* ids) {
  const tfhash::Neighbors& from = neighbors->neighbors;
  std::copy(from.row_splits.begin(), from.row_splits.end(), row_splits);
  std::copy(from.distances.begin(), from.distances.end(), distances);
  std::copy(from.indices.begin(), from.indices.end(), ids);
}

void TfhashIndexFreeNeighbors(TfhashIndexNeighbors* neighbors) { delete neighbors; }

int32_t TfhashIndexItems(const TfhashIndexSnapshot* snapshot, uint8_t* codes, int64_t* ids) {
  return Guard([&] {
    snapshot->snapshot->Items(codes, ids);
    return kTfhashIndexOk;
  });
}

int32_t TfhashIndexSnapshotSegment(const TfhashIndexSnapshot* snapshot,
                                   TfhashIndexSegment* segment) {
  const auto& parts = snapshot->snapshot->parts;
  if (parts.size() != 1 || parts[0].removed_count != 0) {
    return tfhash::Fail(kTfhashIndexFailed, "the index is not a single segment");
  }
  const tfhash::Segment& from = *parts[0].segment;
  *segment = {};
  segment->pieces = from.pieces.count;
  segment->key_bits = from.pieces.key_bits;
  segment->ids = from.ids.data;
  segment->items = from.items();
  segment->rows = from.rows();
  for (int p = 0; p < tfhash::kMaxPieces; ++p) {
    segment->tables[p] = from.tables[p].data;
    segment->directories[p] = from.directories[p].data;
  }
  segment->ranks = from.ranks.data;
  segment->ranks_size = from.ranks.size;
  segment->repeats = from.repeats.data;
  segment->repeats_size = from.repeats.size;
  segment->repeats_before = from.repeats_before.data;
  segment->extras = from.extras.data;
  segment->extras_size = from.extras.size;
  return kTfhashIndexOk;
}

int32_t TfhashIndexValidate(const TfhashIndexSnapshot* snapshot) {
  return Guard([&]() -> int32_t {
    for (const tfhash::PartOfIndex& part : snapshot->snapshot->parts) {
      const std::string error = part.segment->Validate();
      if (!error.empty()) throw tfhash::DamagedError(error);
      const tfhash::View<int64_t>& ids = part.segment->ids;
      const int64_t next_id = snapshot->snapshot->next_id;
      if (next_id >= 0 && next_id <= *std::max_element(ids.begin(), ids.end())) {
        throw tfhash::DamagedError("the next id is not after the largest one");
      }
    }
    return kTfhashIndexOk;
  });
}
