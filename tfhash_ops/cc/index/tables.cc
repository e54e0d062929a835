#include "index/tables.h"

#include <algorithm>

#include "index/cost.h"
#include "index/filter.h"

namespace tfhash {
namespace {

// Keys that are looked up together: while the buckets of one group are compared, the codes of the next
// are fetched, and the places in the directory of the one after.
constexpr int64_t kGroup = 32;
// Of a bucket, this much is fetched ahead; the CPU follows from there.
constexpr int64_t kFetchedBytes = 1024;

// What may be spent before the limit is low enough, and at most, in parts of the cost of a scan. Buckets
// that hold more codes than others make a search cost more than expected.
constexpr double kHope = 0.125;
constexpr double kOverrun = 1.0;

// The masks of `flips` bits among `bits`, in ascending order.
class Masks {
 public:
  Masks(int bits, int flips) : mask_((uint64_t{1} << flips) - 1), end_(uint64_t{1} << bits) {}

  bool done() const { return mask_ >= end_; }
  // The next larger number with as many bits set.
  uint32_t Next() {
    const uint64_t mask = mask_;
    if (mask == 0) {
      mask_ = end_;
      return 0;
    }
    const uint64_t lowest = mask & -mask;
    const uint64_t carried = mask + lowest;
    mask_ = carried | (((mask ^ carried) >> 2) >> __builtin_ctzll(mask));
    return static_cast<uint32_t>(mask);
  }

 private:
  uint64_t mask_;
  uint64_t end_;
};

class Visit {
 public:
  Visit(const Kernel& kernel, const Segment& segment, const uint8_t* query, Nearest* nearest)
      : kernel_(kernel),
        filter_(ChooseFilter(kernel, segment.pieces.bytes)),
        segment_(segment),
        query_(query),
        nearest_(nearest) {
    for (int p = 0; p < segment.pieces.count; ++p) keys_[p] = segment.pieces.KeyOf(query, p);
  }

  // Visits the keys at `flips` in table p. Stops early once `spent` exceeds the budget.
  void Level(int p, int flips, double budget) {
    Masks masks(segment_.pieces.key_bits, flips);
    uint32_t keys[kGroup];
    Range buckets[2][kGroup];
    int64_t named = Name(p, &masks, keys);
    int64_t located = Locate(p, keys, named, buckets[0]);
    for (int turn = 0; located > 0 && spent_ <= budget; turn ^= 1) {
      // Named one group ahead of the codes, which are one group ahead of the comparison.
      named = Name(p, &masks, keys);
      const int64_t next = Locate(p, keys, named, buckets[turn ^ 1]);
      Compare(p, flips, buckets[turn], located);
      located = next;
    }
  }

  double spent() const { return spent_; }

 private:
  // The next keys; fetches their places in the directory.
  int64_t Name(int p, Masks* masks, uint32_t* keys) const {
    int64_t count = 0;
    for (; count < kGroup && !masks->done(); ++count) {
      keys[count] = keys_[p] ^ masks->Next();
      __builtin_prefetch(segment_.directories[p].data + keys[count]);
    }
    return count;
  }

  // The buckets of keys; fetches their codes.
  int64_t Locate(int p, const uint32_t* keys, int64_t count, Range* buckets) const {
    const int64_t bytes = segment_.pieces.bytes;
    for (int64_t i = 0; i < count; ++i) {
      buckets[i] = segment_.Bucket(p, keys[i]);
      const uint8_t* first = segment_.code(p, buckets[i].begin);
      const int64_t size = std::min(buckets[i].size() * bytes, kFetchedBytes);
      for (int64_t at = 0; at < size; at += 64) __builtin_prefetch(first + at);
    }
    return count;
  }

  void Compare(int p, int flips, const Range* buckets, int64_t count) {
    int64_t rows = 0, first = 0;
    double codes = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t size = buckets[i].size();
      codes += size;
      if (rows + size <= kFilterRows) {
        rows += size;
        continue;
      }
      Filtered(p, flips, buckets + first, i - first);
      first = i;
      rows = size;
      if (size <= kFilterRows) continue;
      for (int64_t row = buckets[i].begin; row < buckets[i].end; row += kFilterRows) {
        const Range part{row, std::min(row + kFilterRows, buckets[i].end)};
        Filtered(p, flips, &part, 1);
      }
      first = i + 1;
      rows = 0;
    }
    Filtered(p, flips, buckets + first, count - first);
    spent_ += (count - 1) * Costs::kBucket + Costs::Bucket(codes, segment_.pieces.bytes);
  }

  void Filtered(int p, int flips, const Range* ranges, int64_t count) {
    int64_t rows[kFilterRows];
    int32_t distances[kFilterRows];
    const int64_t found = filter_(kernel_, query_, segment_.tables[p].data, ranges, count,
                                  segment_.pieces.bytes, nearest_->limit(), rows, distances);
    for (int64_t i = 0; i < found; ++i) {
      if (distances[i] > nearest_->limit()) continue;
      if (!IsFirst(p, flips, segment_.code(p, rows[i]))) continue;
      nearest_->Push(distances[i], p, rows[i]);
      spent_ += Costs::kCandidate;
    }
  }

  // Whether no table before has reached the row.
  bool IsFirst(int p, int flips, const uint8_t* code) const {
    const Pieces& pieces = segment_.pieces;
    for (int other = 0; other < pieces.count; ++other) {
      if (other == p) continue;
      const int differ = __builtin_popcount(keys_[other] ^ pieces.KeyOf(code, other));
      if (differ < flips + (other < p)) return false;
    }
    return true;
  }

  const Kernel& kernel_;
  const Filter filter_;
  const Segment& segment_;
  const uint8_t* const query_;
  Nearest* const nearest_;
  uint32_t keys_[kMaxPieces];
  double spent_ = 0;
};

// Expected cost of a bucket.
double CostOfBucket(const Segment& segment) {
  const Pieces& pieces = segment.pieces;
  const double keys = static_cast<double>(pieces.directory_size() - 1);
  return Costs::Bucket(segment.rows() / keys, pieces.bytes);
}

// Expected number of buckets from (flips, p) on until the limit is reached.
double BucketsToCome(const Pieces& pieces, int flips, int p, int64_t limit) {
  double buckets = 0;
  for (; flips <= pieces.key_bits; ++flips, p = 0) {
    const double keys = KeysAt(pieces.key_bits, flips);
    for (; p < pieces.count; ++p) {
      buckets += keys;
      if (limit <= pieces.count * flips + p) return buckets;
    }
  }
  return buckets;
}

}  // namespace

bool SearchTables(const Kernel& kernel, const Segment& segment, const uint8_t* query, double budget,
                  Nearest* nearest) {
  const Pieces& pieces = segment.pieces;
  const double bucket = CostOfBucket(segment);
  Visit visit(kernel, segment, query, nearest);
  for (int flips = 0; flips <= pieces.key_bits; ++flips) {
    const double level = KeysAt(pieces.key_bits, flips) * bucket;
    for (int p = 0; p < pieces.count; ++p) {
      // A part of the budget may be spent in the hope that the limit falls; more only if what is to come
      // with the limit of now is cheaper than the scan.
      if (visit.spent() + level > kHope * budget &&
          BucketsToCome(pieces, flips, p, nearest->limit()) * bucket > budget) {
        return false;
      }
      visit.Level(p, flips, kOverrun * budget);
      if (visit.spent() > kOverrun * budget) return false;
      if (nearest->limit() <= pieces.count * flips + p) return true;
    }
  }
  return true;
}

}  // namespace tfhash
