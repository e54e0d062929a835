#include "join/join_distinct.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tfhash::join {
namespace {

constexpr int kBucketBits = 11;
constexpr int64_t kBuckets = 1 << kBucketBits;
constexpr uint32_t kNone = ~uint32_t{0};

uint64_t Mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0xD6E8FEB86659FD93;
  return hash ^ hash >> 32;
}

uint64_t HashOf(const uint8_t* code, int64_t bytes) {
  uint64_t hash = 0;
  int64_t at = 0;
  for (; at + 8 <= bytes; at += 8) {
    uint64_t word;
    std::memcpy(&word, code + at, 8);
    hash = Mix(hash, word);
  }
  uint64_t tail = 0;
  for (; at < bytes; ++at) tail = tail << 8 | code[at];
  return Mix(hash, tail) * 0x9E3779B97F4A7C15;
}

// Finds for each item the first one with the same code. Items of a bucket are in ascending order.
class FirstItems {
 public:
  FirstItems(const Codes& codes, JoinThreads* threads)
      : codes_(codes), threads_(threads), first_(codes.count), ordered_(codes.count) {
    Scatter();
    threads->Run(kBuckets, [this](int64_t bucket) {
      FindIn(bucket == 0 ? 0 : ends_[bucket - 1], ends_[bucket]);
    });
  }

  std::vector<uint32_t> Take() { return std::move(first_); }

 private:
  // An item and more of its hash than the bucket tells.
  struct Entry {
    uint32_t item;
    uint32_t hash;
  };

  void Scatter() {
    const int64_t parts = threads_->threads();
    std::vector<std::vector<uint32_t>> places(parts, std::vector<uint32_t>(kBuckets));
    ForItems([&](int64_t part, int64_t, uint64_t hash) {
      ++places[part][hash >> (64 - kBucketBits)];
    });
    uint32_t next = 0;
    for (int64_t bucket = 0; bucket < kBuckets; ++bucket) {
      for (auto& of_part : places) next += std::exchange(of_part[bucket], next);
    }
    ForItems([&](int64_t part, int64_t item, uint64_t hash) {
      const uint32_t place = places[part][hash >> (64 - kBucketBits)]++;
      ordered_[place] = {static_cast<uint32_t>(item), static_cast<uint32_t>(hash >> 16)};
    });
    ends_ = std::move(places.back());
  }

  template <typename Function>
  void ForItems(const Function& function) {
    const int64_t parts = threads_->threads();
    threads_->Run(parts, [&](int64_t part) {
      const int64_t end = codes_.count * (part + 1) / parts;
      for (int64_t i = codes_.count * part / parts; i < end; ++i) {
        function(part, i, HashOf(codes_[i], codes_.bytes));
      }
    });
  }

  void FindIn(int64_t begin, int64_t end) {
    int bits = 1;
    while (int64_t{1} << bits < 2 * (end - begin)) ++bits;
    const size_t mask = (size_t{1} << bits) - 1;
    std::vector<Entry> table(mask + 1, Entry{kNone, 0});
    for (int64_t i = begin; i < end; ++i) {
      const Entry& entry = ordered_[i];
      size_t place = entry.hash * 0x9E3779B1u & mask;
      while (table[place].item != kNone && !IsSame(table[place], entry)) place = (place + 1) & mask;
      if (table[place].item == kNone) table[place] = entry;
      first_[entry.item] = table[place].item;
    }
  }

  bool IsSame(const Entry& a, const Entry& b) const {
    return a.hash == b.hash && std::memcmp(codes_[a.item], codes_[b.item], codes_.bytes) == 0;
  }

  const Codes& codes_;
  JoinThreads* threads_;
  std::vector<uint32_t> first_;
  std::vector<Entry> ordered_;
  std::vector<uint32_t> ends_;
};

}  // namespace

Distinct::Distinct(const Codes& codes, int64_t bits, JoinThreads* threads) : items_(codes.count) {
  number_of_ = FirstItems(codes, threads).Take();
  int64_t count = 0;
  for (int64_t item = 0; item < items_; ++item) count += number_of_[item] == item;
  is_identity_ = count == items_;
  const int64_t words = (bits + 63) / 64;
  words_.resize(count * words);
  if (is_identity_ && codes.bytes == 8 * words) {
    if (count > 0) std::memcpy(words_.data(), codes.data, items_ * codes.bytes);
    std::vector<uint32_t>().swap(number_of_);
    return;
  }
  if (!is_identity_) ends_.reserve(count);
  int64_t number = 0;
  for (int64_t item = 0; item < items_; ++item) {
    if (number_of_[item] != item) {
      number_of_[item] = number_of_[number_of_[item]];  // its first item has its number already
      ++ends_[number_of_[item]];
      continue;
    }
    std::memcpy(words_.data() + number * words, codes[item], codes.bytes);
    if (!is_identity_) {
      number_of_[item] = static_cast<uint32_t>(number);
      ends_.push_back(1);
    }
    ++number;
  }
  if (is_identity_) {
    std::vector<uint32_t>().swap(number_of_);
    return;
  }
  uint32_t next = 0;
  for (uint32_t& end : ends_) next += std::exchange(end, next);
  sorted_.resize(items_);
  for (int64_t item = 0; item < items_; ++item) {
    sorted_[ends_[number_of_[item]]++] = static_cast<uint32_t>(item);
  }
}

}  // namespace tfhash::join
