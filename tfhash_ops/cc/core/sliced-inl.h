// Bit slicing: comparing a query with as many codes at once as a vector word has bits.
//
// The bits of a code are cut into groups of three. For every group and each of the eight
// values a query may have there, a table holds how many of the three bits differ, 0 to 3, for
// every code of a block: two planes, one with the low and one with the high bit of that
// number, bit i of a plane belonging to code i. To compare a query, one adds up the pairs of
// planes its own bits select, in binary, with full adders on whole planes: each adder takes
// three planes of one weight and leaves one of that weight and one of the next. A last pass
// compares the sums, still in planes, with the query's limit.
//
// For 64 bits that is 37 adders for a whole block, whose size is the width of a word; counting
// the bits of each distance separately would take a population count for every code.
//
// Each vector instruction set includes this file once, inside its own namespace and target
// region, after it has defined `Word` and
//   Word Load(const void*), void Store(void*, Word), aligned;
//   Word Broadcast(uint64_t), Xor(a, b), And(a, b);
//   Word ShiftLeft(a, int), ShiftRight(a, int), within lanes of 64 bits;
//   Word NotMajority(a, b, c), the majority of not a, b and c;
//   void FullAdd(a, b, c, Word& sum, Word& carry);
//   bool IsZero(Word), int64_t CountWord(Word), the number of its bits.

// Codes of a block: one for every bit of a word.
constexpr int64_t kBlock = 8 * sizeof(Word);

// Up to this length, and at 32 bytes, the whole network of adders is laid out at compile time.
constexpr int64_t kLongestUnrolled = 16;

// Other codes are summed in chunks of so many bytes, a whole number of groups, and a tail.
constexpr int64_t kChunkBytes = 15;
constexpr int64_t kChunkGroups = 8 * kChunkBytes / 3;

// Planes of any distance, a number of 32 bits.
constexpr int kMaxPlanes = 32;

constexpr int64_t kPairBytes = 2 * sizeof(Word);
constexpr int64_t kGroupBytes = 8 * kPairBytes;

constexpr int64_t GroupCount(int64_t bytes) { return (8 * bytes + 2) / 3; }

// Planes of a number up to `largest`.
constexpr int PlaneCount(int64_t largest) {
  int planes = 0;
  for (; largest > 0; largest >>= 1) ++planes;
  return planes;
}

// ---------------------------------------------------------------------------------------------
// The network of adders. Which planes wait at which weight is known at compile time: `state`
// holds two bits for every weight, the number of planes waiting there, 0 to 2.

constexpr int Waiting(uint64_t state, int weight) { return state >> (2 * weight) & 3; }

// The state after one more plane of a weight.
constexpr uint64_t Pushed(uint64_t state, int weight) {
  while (Waiting(state, weight) == 2) {
    state -= uint64_t{1} << (2 * weight);
    ++weight;
  }
  return state + (uint64_t{1} << (2 * weight));
}

constexpr uint64_t StateAfter(int groups) {
  uint64_t state = 0;
  for (int i = 0; i < groups; ++i) state = Pushed(Pushed(state, 0), 1);
  return state;
}

template <uint64_t kState, int kWeight>
TFHASH_INLINE void Push(Word (*waiting)[2], Word plane) {
  if constexpr (Waiting(kState, kWeight) < 2) {
    waiting[kWeight][Waiting(kState, kWeight)] = plane;
  } else {
    Word carry;
    FullAdd(waiting[kWeight][0], waiting[kWeight][1], plane, waiting[kWeight][0], carry);
    Push<kState - (uint64_t{1} << (2 * kWeight)), kWeight + 1>(waiting, carry);
  }
}

// Adds what still waits, so that one plane of every weight is left.
template <uint64_t kState, int kWeight, int kPlanes>
TFHASH_INLINE void Settle(Word (*waiting)[2], Word* sum) {
  if constexpr (kWeight < kPlanes) {
    constexpr int count = Waiting(kState, kWeight);
    constexpr uint64_t next = count == 2 ? Pushed(kState, kWeight + 1) : kState;
    if constexpr (count == 2) {
      const Word carry = And(waiting[kWeight][0], waiting[kWeight][1]);
      waiting[kWeight][0] = Xor(waiting[kWeight][0], waiting[kWeight][1]);
      Push<kState, kWeight + 1>(waiting, carry);
    }
    sum[kWeight] = count == 0 ? Broadcast(0) : waiting[kWeight][0];
    Settle<next, kWeight + 1, kPlanes>(waiting, sum);
  }
}

template <int kGroup>
TFHASH_INLINE void AddGroup(const uint8_t* table, const uint16_t* selectors,
                            Word (*waiting)[2]) {
  const uint8_t* pair = table + kGroup * kGroupBytes + selectors[kGroup];
  constexpr uint64_t state = StateAfter(kGroup);
  Push<state, 0>(waiting, Load(pair));
  Push<Pushed(state, 0), 1>(waiting, Load(pair + sizeof(Word)));
}

// sum[0, kPlanes): the selected numbers of all groups, added up.
template <int kPlanes, int... kGroups>
TFHASH_INLINE void AddGroups(const uint8_t* table, const uint16_t* selectors, Word* sum,
                             std::integer_sequence<int, kGroups...>) {
  Word waiting[kPlanes + 1][2];
  (AddGroup<kGroups>(table, selectors, waiting), ...);
  Settle<StateAfter(sizeof...(kGroups)), 0, kPlanes>(waiting, sum);
}

// ---------------------------------------------------------------------------------------------
// Queries.

int64_t TableBytes(int64_t bytes) { return GroupCount(bytes) * kGroupBytes; }

// Enough for the largest sum, and for a limit one above the largest distance.
constexpr int LimitPlanes(int64_t bytes) { return PlaneCount(3 * GroupCount(bytes)); }

int64_t LimitWords(int64_t bytes) { return LimitPlanes(bytes); }

void SetLimit(int64_t limit, int64_t bytes, uint64_t* words) {
  for (int i = 0; i < LimitPlanes(bytes); ++i) words[i] = limit >> i & 1 ? ~uint64_t{0} : 0;
}

// The value of a query in every group, as the offset of its pair of planes.
void Select(const uint8_t* query, int64_t bytes, uint16_t* selectors) {
  for (int64_t group = 0; group < GroupCount(bytes); ++group) {
    int value = 0;
    for (int64_t i = 0; i < 3; ++i) {
      const int64_t bit = 3 * group + i;
      if (bit < 8 * bytes && query[bit / 8] >> (bit % 8) & 1) value |= 1 << i;
    }
    selectors[group] = value * kPairBytes;
  }
}

// Marks the codes whose sum is below a limit: from the lowest bit on, a sum is below if its bit
// is below the limit's, or if the bits are equal and it was below so far.
TFHASH_INLINE Word Below(const Word* sum, const uint64_t* limit, int planes) {
  Word below = Broadcast(0);
  for (int i = 0; i < planes; ++i) below = NotMajority(sum[i], Broadcast(limit[i]), below);
  return below;
}

// The sum of the first groups of a table, those of kBytes bytes.
template <int64_t kBytes>
struct Sum {
  static constexpr int kPlanes = LimitPlanes(kBytes);

  Word planes[kPlanes];

  TFHASH_INLINE Sum(const uint8_t* table, const uint16_t* selectors) {
    AddGroups<kPlanes>(table, selectors, planes,
                       std::make_integer_sequence<int, GroupCount(kBytes)>());
  }
};

template <int64_t kBytes>
struct UnrolledLength {
  static constexpr int64_t Selectors(int64_t) { return GroupCount(kBytes); }
  static constexpr int64_t Limits(int64_t) { return LimitPlanes(kBytes); }

  static TFHASH_INLINE Word Near(const uint8_t* table, int64_t, const uint16_t* selectors,
                                 const uint64_t* limit) {
    const Sum<kBytes> sum(table, selectors);
    return Below(sum.planes, limit, sum.kPlanes);
  }
};

template <int64_t kTailBytes>
struct ChunkedLength {
  static int64_t Selectors(int64_t bytes) { return GroupCount(bytes); }
  static int64_t Limits(int64_t bytes) { return LimitPlanes(bytes); }

  static TFHASH_INLINE Word Near(const uint8_t* table, int64_t bytes, const uint16_t* selectors,
                                 const uint64_t* limit) {
    const int planes = LimitPlanes(bytes);
    Word total[kMaxPlanes];
    for (int i = 0; i < planes; ++i) total[i] = Broadcast(0);
    for (int64_t left = bytes; left >= kChunkBytes; left -= kChunkBytes) {
      Add(Sum<kChunkBytes>(table, selectors), total, planes);
      table += kChunkGroups * kGroupBytes;
      selectors += kChunkGroups;
    }
    if constexpr (kTailBytes > 0) Add(Sum<kTailBytes>(table, selectors), total, planes);
    return Below(total, limit, planes);
  }

 private:
  // REQUIRES: `planes` suffice for the result
  template <typename Addend>
  static TFHASH_INLINE void Add(const Addend& addend, Word* total, int planes) {
    Word carry = Broadcast(0);
    for (int i = 0; i < Addend::kPlanes; ++i) {
      FullAdd(total[i], addend.planes[i], carry, total[i], carry);
    }
    for (int i = Addend::kPlanes; i < planes; ++i) {
      const Word both = And(total[i], carry);
      total[i] = Xor(total[i], carry);
      carry = both;
    }
  }
};

template <typename Length>
int64_t FindQueries(const void* table, int64_t bytes, const uint16_t* selectors,
                    const uint64_t* limits, int64_t queries, int32_t* found, uint64_t* masks) {
  int64_t count = 0;
  for (int64_t i = 0; i < queries; ++i) {
    const Word near =
        Length::Near(static_cast<const uint8_t*>(table), bytes,
                     selectors + i * Length::Selectors(bytes), limits + i * Length::Limits(bytes));
    // No branch on what cannot be foretold: the next query writes over this one if it is far.
    found[count] = static_cast<int32_t>(i);
    std::memcpy(masks + count * (kBlock / 64), &near, sizeof(near));
    count += !IsZero(near);
  }
  return count;
}

using FindFunction = decltype(SlicedKernel::find);

template <int... kLengths>
FindFunction FindUnrolled(int64_t bytes, std::integer_sequence<int, kLengths...>) {
  static constexpr FindFunction kFind[] = {FindQueries<UnrolledLength<kLengths + 1>>...};
  return kFind[bytes - 1];
}

template <int... kTails>
FindFunction FindChunked(int64_t bytes, std::integer_sequence<int, kTails...>) {
  static constexpr FindFunction kFind[] = {FindQueries<ChunkedLength<kTails>>...};
  return kFind[bytes % kChunkBytes];
}

int64_t Find(const void* table, int64_t bytes, const uint16_t* selectors, const uint64_t* limits,
             int64_t queries, int32_t* found, uint64_t* masks) {
  const FindFunction find =
      bytes <= kLongestUnrolled
          ? FindUnrolled(bytes, std::make_integer_sequence<int, kLongestUnrolled>())
      : bytes == 32 ? FindQueries<UnrolledLength<32>>
                    : FindChunked(bytes, std::make_integer_sequence<int, kChunkBytes>());
  return find(table, bytes, selectors, limits, queries, found, masks);
}

// ---------------------------------------------------------------------------------------------
// Counting distances. The codes at one distance are those whose planes are set where its bits are,
// and clear elsewhere. Only the first half of that is asked here, for it takes a single conjunction:
// how many distances have all bits of m set, whichever others they have. From these counts for
// every m the caller finds those of the distances, once for all blocks.

constexpr int64_t kMaxCountedBytes = kLongestUnrolled;

// masks[m]: the codes whose distances have all bits of m set, where m goes on from kBits with
// planes below kPlane.
template <int kLargest, int kBits, int kPlane>
TFHASH_INLINE void Conjoin(const Word* planes, Word all, Word* masks) {
  if constexpr (kPlane > 0) {
    constexpr int bits = kBits | 1 << (kPlane - 1);
    if constexpr (bits <= kLargest) {
      const Word both = And(all, planes[kPlane - 1]);
      masks[bits] = both;
      Conjoin<kLargest, bits, kPlane - 1>(planes, both, masks);
    }
    Conjoin<kLargest, kBits, kPlane - 1>(planes, all, masks);
  }
}

template <int64_t kBytes>
void CountQueries(const void* table, const uint16_t* selectors, int64_t queries, int64_t* counts) {
  constexpr int kLargest = 8 * kBytes;
  for (int64_t i = 0; i < queries; ++i) {
    const Sum<kBytes> sum(static_cast<const uint8_t*>(table), selectors + i * GroupCount(kBytes));
    Word masks[kLargest + 1];
    Conjoin<kLargest, 0, PlaneCount(kLargest)>(sum.planes, Broadcast(~uint64_t{0}), masks);
    int64_t* counts_of_query = counts + i * (kLargest + 1);
    counts_of_query[0] += kBlock;
    for (int m = 1; m <= kLargest; ++m) counts_of_query[m] += CountWord(masks[m]);
  }
}

template <int... kLengths>
void CountUnrolled(const void* table, int64_t bytes, const uint16_t* selectors, int64_t queries,
                   int64_t* counts, std::integer_sequence<int, kLengths...>) {
  static constexpr decltype(&CountQueries<1>) kCount[] = {CountQueries<kLengths + 1>...};
  kCount[bytes - 1](table, selectors, queries, counts);
}

void Count(const void* table, int64_t bytes, const uint16_t* selectors, int64_t queries,
           int64_t* counts) {
  CountUnrolled(table, bytes, selectors, queries, counts,
                std::make_integer_sequence<int, kMaxCountedBytes>());
}

// ---------------------------------------------------------------------------------------------
// The table of a block.

// Transposes the 64 x 64 bits in every 64-bit lane of 64 words: bit j of lane l of word i goes
// to bit i of lane l of word j. Squares of half the size change places, then those within them.
TFHASH_INLINE void Transpose(Word (&words)[64]) {
  uint64_t low = 0x00000000FFFFFFFF;  // The lower half of every square.
  for (int half = 32; half > 0; half /= 2, low ^= low << half) {
    const Word mask = Broadcast(low);
    for (int i = 0; i < 64; i = ((i | half) + 1) & ~half) {
      const Word moved = And(Xor(ShiftRight(words[i], half), words[i | half]), mask);
      words[i | half] = Xor(words[i | half], moved);
      words[i] = Xor(words[i], ShiftLeft(moved, half));
    }
  }
}

// Planes of the eight values a query can have in a group, from the group's own three planes.
TFHASH_INLINE void BuildGroup(Word a, Word b, Word c, uint8_t* pairs) {
  const Word ones = Broadcast(~uint64_t{0});
  for (int value = 0; value < 8; ++value) {
    Word low, high;
    FullAdd(value & 1 ? Xor(a, ones) : a, value & 2 ? Xor(b, ones) : b,
            value & 4 ? Xor(c, ones) : c, low, high);
    Store(pairs + value * kPairBytes, low);
    Store(pairs + value * kPairBytes + sizeof(Word), high);
  }
}

void Build(const uint8_t* codes, int64_t count, int64_t bytes, void* table) {
  uint8_t* pairs = static_cast<uint8_t*>(table);
  // Bits left over from one stretch of 64 bits to the next, so that groups may straddle them.
  Word planes[66];
  int kept = 0;
  int64_t group = 0;
  for (int64_t first = 0; first < bytes; first += 8) {
    Word words[64];
    const int64_t length = bytes - first < 8 ? bytes - first : 8;
    // Code i is to become bit i % 64 of lane i / 64.
    uint64_t stretch[64 * (kBlock / 64)] = {};
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(&stretch[i % 64 * (kBlock / 64) + i / 64], codes + i * bytes + first, length);
    }
    std::memcpy(words, stretch, sizeof(words));
    Transpose(words);
    for (int i = 0; i < 8 * length; ++i) planes[kept + i] = words[i];
    const int held = kept + 8 * length;
    int used = 0;
    for (; used + 3 <= held; used += 3, ++group) {
      BuildGroup(planes[used], planes[used + 1], planes[used + 2], pairs + group * kGroupBytes);
    }
    kept = held - used;
    for (int i = 0; i < kept; ++i) planes[i] = planes[used + i];
  }
  if (kept > 0) {
    // The last group lacks a bit or two: a query has zeros there, and so have the codes.
    for (int i = kept; i < 3; ++i) planes[i] = Broadcast(0);
    BuildGroup(planes[0], planes[1], planes[2], pairs + group * kGroupBytes);
  }
}

constexpr SlicedKernel kSliced{kBlock, TableBytes, GroupCount, LimitWords,
                               Build,  Select,     SetLimit,   Find,
                               kMaxCountedBytes,   Count};
