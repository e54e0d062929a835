#include "index/build.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "index/cost.h"
#include "index/nearest.h"

namespace tfhash {
namespace {

void CopyCode(uint8_t* to, const uint8_t* from, int64_t bytes) {
  if (bytes == 8) {
    std::memcpy(to, from, 8);  // a constant size, which the compiler makes a single move
  } else {
    std::memcpy(to, from, bytes);
  }
}

// Puts codes and ids in ascending order of the ids.
void SortById(Owned<uint8_t>* codes, Owned<int64_t>* ids, int64_t bytes) {
  const int64_t n = ids->size();
  if (std::is_sorted(ids->data(), ids->data() + n)) return;
  Owned<uint32_t> order(n);
  std::iota(order.data(), order.data() + n, 0u);
  const int64_t* id = ids->data();
  std::sort(order.data(), order.data() + n, [id](uint32_t a, uint32_t b) { return id[a] < id[b]; });
  Owned<int64_t> sorted_ids(n);
  for (int64_t i = 0; i < n; ++i) sorted_ids[i] = id[order[i]];
  *ids = std::move(sorted_ids);
  Owned<uint8_t> sorted_codes(n * bytes);
  for (int64_t i = 0; i < n; ++i) {
    CopyCode(sorted_codes.data() + i * bytes, codes->data() + order[i] * bytes, bytes);
  }
  *codes = std::move(sorted_codes);
}

// Counts of keys, turned into the positions where keys begin, shifted by one: after `Place` has taken
// every position, begins[key] is where the key begins, and begins[keys] the end.
class Buckets {
 public:
  explicit Buckets(int64_t keys) : begins_(keys + 2) {
    std::fill_n(begins_.data(), begins_.size(), 0u);
  }
  void Count(uint32_t key) { ++begins_[key + 2]; }
  void Sum() { std::partial_sum(begins_.data(), begins_.data() + begins_.size(), begins_.data()); }
  uint32_t Place(uint32_t key) { return begins_[key + 1]++; }
  uint32_t operator[](int64_t key) const { return begins_[key]; }
  View<uint32_t> directory() const { return {begins_.data(), begins_.size() - 1}; }
  Memory Release() && { return std::move(begins_).Release(); }

 private:
  Owned<uint32_t> begins_;
};

// An item on its way: the most significant bytes of its code, up to eight, as a number, and its rank.
struct Sorted {
  uint64_t number;
  uint32_t rank;
};

// Items in the order of (code, rank).
class CodeOrder {
 public:
  CodeOrder(const uint8_t* codes, int64_t n, const Pieces& pieces, const Executor& executor)
      : codes_(codes), bytes_(pieces.bytes), sorted_(n) {
    // A first pass spreads the items over buckets that fit into the cache, where they are sorted.
    const int64_t number_bits = std::min<int64_t>(pieces.bits, 64 - (8 * bytes_ - pieces.bits));
    const int64_t bucket_bits = std::min<int64_t>(kBucketBits, number_bits);
    const int64_t shift = number_bits - bucket_bits, keys = int64_t{1} << bucket_bits;
    Buckets buckets(keys);
    for (int64_t i = 0; i < n; ++i) buckets.Count(static_cast<uint32_t>(NumberOf(i) >> shift));
    buckets.Sum();
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t number = NumberOf(i);
      sorted_[buckets.Place(static_cast<uint32_t>(number >> shift))] = {number,
                                                                        static_cast<uint32_t>(i)};
    }
    const int64_t parts = executor.threads == 1 ? 1 : std::min<int64_t>(keys, 16 * executor.threads);
    RunTasks(executor, parts, [&](int64_t task) {
      const Range range = Part(keys, parts, task);
      for (int64_t key = range.begin; key < range.end; ++key) {
        std::sort(sorted_.data() + buckets[key], sorted_.data() + buckets[key + 1],
                  [this](const Sorted& x, const Sorted& y) { return IsBefore(x, y); });
      }
    });
  }

  int64_t size() const { return sorted_.size(); }
  uint32_t rank(int64_t i) const { return sorted_[i].rank; }

  // Whether item i has the code of the one before.
  bool IsRepeat(int64_t i) const {
    if (i == 0 || sorted_[i].number != sorted_[i - 1].number) return false;
    return bytes_ <= 8 || CompareCodes(Code(i), Code(i - 1), bytes_) == 0;
  }

  void CopyTo(int64_t i, uint8_t* code) const {
    if (bytes_ <= 8) {
      CopyCode(code, reinterpret_cast<const uint8_t*>(&sorted_[i].number), bytes_);
      return;
    }
    // The codes lie scattered.
    if (i + kAhead < size()) __builtin_prefetch(Code(i + kAhead));
    std::memcpy(code, Code(i), bytes_);
  }

 private:
  static constexpr int64_t kBucketBits = 12;
  static constexpr int64_t kAhead = 16;

  uint64_t NumberOf(int64_t i) const {
    const uint8_t* code = codes_ + i * bytes_;
    return bytes_ < 8 ? LoadNumber(code, bytes_) : LoadNumber(code + bytes_ - 8);
  }
  const uint8_t* Code(int64_t i) const { return codes_ + sorted_[i].rank * bytes_; }

  bool IsBefore(const Sorted& x, const Sorted& y) const {
    if (x.number != y.number) return x.number < y.number;
    if (bytes_ > 8) {
      const int order = CompareCodes(codes_ + x.rank * bytes_, codes_ + y.rank * bytes_, bytes_);
      if (order != 0) return order < 0;
    }
    return x.rank < y.rank;
  }

  const uint8_t* codes_;
  const int64_t bytes_;
  Owned<Sorted> sorted_;
};

// Collapses equal codes: table 0, and what leads from its rows to items.
void FillRows(const CodeOrder& order, int64_t bytes, Segment* segment) {
  const int64_t n = order.size();
  int64_t rows = 0;
  for (int64_t i = 0; i < n; ++i) rows += !order.IsRepeat(i);
  Owned<uint32_t> ranks(n);
  Owned<uint8_t> table(rows * bytes);
  const int64_t words = rows < n ? (rows + 63) / 64 : 0;
  Owned<uint64_t> repeats(words);
  Owned<uint32_t> before(words);
  std::fill_n(repeats.data(), words, uint64_t{0});
  std::vector<uint32_t> extras{0};
  int64_t row = -1;
  for (int64_t i = 0; i < n; ++i) {
    ranks[i] = order.rank(i);
    if (!order.IsRepeat(i)) {
      order.CopyTo(i, table.data() + ++row * bytes);
      continue;
    }
    uint64_t& word = repeats[row / 64];
    const uint64_t bit = uint64_t{1} << (row % 64);
    if ((word & bit) == 0) {
      word |= bit;
      extras.push_back(extras.back());
    }
    ++extras.back();
  }
  uint32_t marks = 0;
  for (int64_t i = 0; i < words; ++i) {
    before[i] = marks;
    marks += __builtin_popcountll(repeats[i]);
  }
  segment->tables[0] = table.view();
  segment->ranks = ranks.view();
  segment->memory.push_back(std::move(table).Release());
  segment->memory.push_back(std::move(ranks).Release());
  if (words == 0) return;
  Owned<uint32_t> exact(extras.size());
  std::copy(extras.begin(), extras.end(), exact.data());
  segment->repeats = repeats.view();
  segment->repeats_before = before.view();
  segment->extras = exact.view();
  segment->memory.push_back(std::move(repeats).Release());
  segment->memory.push_back(std::move(before).Release());
  segment->memory.push_back(std::move(exact).Release());
}

// The directory of table p, and table p itself unless p is 0.
void FillTable(Segment* segment, int p, Memory* table_memory, Memory* directory_memory) {
  const Pieces& pieces = segment->pieces;
  const int64_t rows = segment->rows(), bytes = pieces.bytes;
  Buckets buckets(int64_t{1} << pieces.key_bits);
  for (int64_t row = 0; row < rows; ++row) buckets.Count(pieces.KeyOf(segment->code(0, row), p));
  buckets.Sum();
  Owned<uint8_t> table(p == 0 ? 0 : rows * bytes);
  for (int64_t row = 0; row < rows; ++row) {
    const uint8_t* code = segment->code(0, row);
    const int64_t place = buckets.Place(pieces.KeyOf(code, p));
    if (p > 0) CopyCode(table.data() + place * bytes, code, bytes);
  }
  if (p > 0) segment->tables[p] = table.view();
  segment->directories[p] = buckets.directory();
  *table_memory = std::move(table).Release();
  *directory_memory = std::move(buckets).Release();
}

}  // namespace

std::shared_ptr<const Segment> BuildSegment(Owned<uint8_t> codes, Owned<int64_t> ids, int64_t bits,
                                            bool flat, const Executor& executor) {
  auto segment = std::make_shared<Segment>();
  Pieces& pieces = segment->pieces;
  pieces.bits = bits;
  pieces.bytes = (bits + 7) / 8;
  // The first pass of the sort counts on it; codes of a damaged file may come here.
  if (FindPaddingBits({codes.data(), ids.size(), pieces.bytes}, bits) >= 0) {
    throw DamagedError("a padding bit of a code is 1");
  }
  SortById(&codes, &ids, pieces.bytes);
  segment->ids = ids.view();
  segment->memory.push_back(std::move(ids).Release());
  const int64_t n = segment->ids.size;
  if (flat || n < MinTableRows(pieces.bytes)) {
    segment->tables[0] = codes.view();
    segment->memory.push_back(std::move(codes).Release());
    return segment;
  }
  {
    const CodeOrder order(codes.data(), n, pieces, executor);
    FillRows(order, pieces.bytes, segment.get());
  }
  codes = Owned<uint8_t>();
  // Few distinct codes are scanned, but stored once all the same: one table, of which all are read.
  pieces = ChoosePieces(bits, segment->rows());
  if (pieces.count == 0) {
    pieces.count = 1;
    pieces.key_bits = static_cast<int>(std::min<int64_t>(8, bits));
  }
  std::vector<Memory> memory(2 * pieces.count);
  RunTasks(executor, pieces.count, [&](int64_t p) {
    FillTable(segment.get(), static_cast<int>(p), &memory[2 * p], &memory[2 * p + 1]);
  });
  for (Memory& each : memory) segment->memory.push_back(std::move(each));
  return segment;
}

}  // namespace tfhash
