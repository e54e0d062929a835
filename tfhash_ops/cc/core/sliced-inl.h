// Bit-sliced comparison: one query against as many codes at once as a vector word has bits.
//
// Distances are computed in bit-sliced (vertical) counters: plane b is a word that holds bit b of the
// distance of every code of a block, bit i of the word belonging to code i.
//
// The bits of a code are divided into groups of three. For every group and each of the eight values that
// a query may have there, a table holds how many of the three bits differ, 0 to 3, for every code of the
// block, as a pair of planes. The bits of a query select one pair per group. A network of carry-save
// adders sums the selected pairs: an adder takes three planes of one weight and produces one plane of
// that weight and one of the next. A last pass compares the sums, still bit-sliced, with the query's
// limit.
//
// For codes of 64 bits that is 37 adders for a whole block, instead of a population count per code.
//
// Each vector kernel includes this file once, inside its namespace and target region, after it has
// defined `Word` and
//   Word Load(const void*), void Store(void*, Word), aligned;
//   Word Broadcast(uint64_t), Xor(a, b), And(a, b);
//   Word ShiftLeft(a, int), ShiftRight(a, int), within 64-bit lanes;
//   Word NotMajority(a, b, c), the majority of (not a), b and c;
//   void CarrySaveAdd(a, b, c, Word& sum, Word& carry);
//   bool IsZero(Word), int64_t CountWord(Word), the population count.

// Codes of a block: one for every bit of a word.
constexpr int64_t kBlock = 8 * sizeof(Word);

// The whole adder network is unrolled for codes up to this length, and for 32 bytes.
constexpr int64_t kLongestUnrolled = 16;

// Other codes are summed in chunks of this many bytes (a whole number of groups) and a tail.
constexpr int64_t kChunkBytes = 15;
constexpr int64_t kChunkGroups = 8 * kChunkBytes / 3;

// Planes of the largest distance, a 32-bit integer.
constexpr int kMaxPlanes = 32;

constexpr int64_t kPairBytes = 2 * sizeof(Word);
constexpr int64_t kGroupBytes = 8 * kPairBytes;

constexpr int64_t GroupCount(int64_t bytes) { return (8 * bytes + 2) / 3; }

// Planes of integers up to `largest`.
constexpr int PlaneCount(int64_t largest) {
  int planes = 0;
  for (; largest > 0; largest >>= 1) ++planes;
  return planes;
}

// ---------------------------------------------------------------------------------------------
// The network of carry-save adders. The number of planes pending at each weight is known at compile
// time: `state` holds it in two bits per weight, 0 to 2.

constexpr int Pending(uint64_t state, int weight) { return state >> (2 * weight) & 3; }

// The state after pushing one more plane of a weight.
constexpr uint64_t Pushed(uint64_t state, int weight) {
  while (Pending(state, weight) == 2) {
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
TFHASH_INLINE void Push(Word (*pending)[2], Word plane) {
  if constexpr (Pending(kState, kWeight) < 2) {
    pending[kWeight][Pending(kState, kWeight)] = plane;
  } else {
    Word carry;
    CarrySaveAdd(pending[kWeight][0], pending[kWeight][1], plane, pending[kWeight][0], carry);
    Push<kState - (uint64_t{1} << (2 * kWeight)), kWeight + 1>(pending, carry);
  }
}

// Adds the planes that are still pending, so that one plane of every weight is left.
template <uint64_t kState, int kWeight, int kPlanes>
TFHASH_INLINE void AddPending(Word (*pending)[2], Word* sum) {
  if constexpr (kWeight < kPlanes) {
    constexpr int count = Pending(kState, kWeight);
    constexpr uint64_t next = count == 2 ? Pushed(kState, kWeight + 1) : kState;
    if constexpr (count == 2) {
      const Word carry = And(pending[kWeight][0], pending[kWeight][1]);
      pending[kWeight][0] = Xor(pending[kWeight][0], pending[kWeight][1]);
      Push<kState, kWeight + 1>(pending, carry);
    }
    sum[kWeight] = count == 0 ? Broadcast(0) : pending[kWeight][0];
    AddPending<next, kWeight + 1, kPlanes>(pending, sum);
  }
}

template <int kGroup>
TFHASH_INLINE void AddGroup(const uint8_t* table, const uint16_t* selectors,
                            Word (*pending)[2]) {
  const uint8_t* pair = table + kGroup * kGroupBytes + selectors[kGroup];
  constexpr uint64_t state = StateAfter(kGroup);
  Push<state, 0>(pending, Load(pair));
  Push<Pushed(state, 0), 1>(pending, Load(pair + sizeof(Word)));
}

// sum[0, kPlanes): the sum of the selected pairs of all groups.
template <int kPlanes, int... kGroups>
TFHASH_INLINE void AddGroups(const uint8_t* table, const uint16_t* selectors, Word* sum,
                             std::integer_sequence<int, kGroups...>) {
  Word pending[kPlanes + 1][2];
  (AddGroup<kGroups>(table, selectors, pending), ...);
  AddPending<StateAfter(sizeof...(kGroups)), 0, kPlanes>(pending, sum);
}

// ---------------------------------------------------------------------------------------------
// Queries.

int64_t TableBytes(int64_t bytes) { return GroupCount(bytes) * kGroupBytes; }

// Enough planes for the largest sum, and for a limit one above the largest distance.
constexpr int LimitPlanes(int64_t bytes) { return PlaneCount(3 * GroupCount(bytes)); }

int64_t LimitWords(int64_t bytes) { return LimitPlanes(bytes); }

void SetLimit(int64_t limit, int64_t bytes, uint64_t* words) {
  for (int i = 0; i < LimitPlanes(bytes); ++i) words[i] = limit >> i & 1 ? ~uint64_t{0} : 0;
}

// The selector of a group is the offset of the pair of planes for the value of the query there.
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

// Marks the codes whose sum is below a limit. From the lowest bit up: a sum is below if its bit is below
// the limit's, or if the bits are equal and the lower bits are below.
TFHASH_INLINE Word Below(const Word* sum, const uint64_t* limit, int planes) {
  Word below = Broadcast(0);
  for (int i = 0; i < planes; ++i) below = NotMajority(sum[i], Broadcast(limit[i]), below);
  return below;
}

// The sum of the first groups of a table, as many as kBytes bytes have.
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
  // REQUIRES: the result fits into `planes` planes
  template <typename Addend>
  static TFHASH_INLINE void Add(const Addend& addend, Word* total, int planes) {
    Word carry = Broadcast(0);
    for (int i = 0; i < Addend::kPlanes; ++i) {
      CarrySaveAdd(total[i], addend.planes[i], carry, total[i], carry);
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
    // Without an unpredictable branch: the next query overwrites this one if it has no near codes.
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
// Histograms. For every m, counts the distances that have all bits of m set, whatever their other bits:
// that takes a single AND per m, whereas the distances equal to m would take one per plane. The caller
// derives the histogram from these counts once, after the last block.

constexpr int64_t kMaxCountedBytes = kLongestUnrolled;

// masks[m]: the codes whose distances have all bits of m set, for every m that extends kBits by bits
// below kPlane.
template <int kLargest, int kBits, int kPlane>
TFHASH_INLINE void AndPlanes(const Word* planes, Word all, Word* masks) {
  if constexpr (kPlane > 0) {
    constexpr int bits = kBits | 1 << (kPlane - 1);
    if constexpr (bits <= kLargest) {
      const Word both = And(all, planes[kPlane - 1]);
      masks[bits] = both;
      AndPlanes<kLargest, bits, kPlane - 1>(planes, both, masks);
    }
    AndPlanes<kLargest, kBits, kPlane - 1>(planes, all, masks);
  }
}

template <int64_t kBytes>
void CountQueries(const void* table, const uint16_t* selectors, int64_t queries, int64_t* counts) {
  constexpr int kLargest = 8 * kBytes;
  for (int64_t i = 0; i < queries; ++i) {
    const Sum<kBytes> sum(static_cast<const uint8_t*>(table), selectors + i * GroupCount(kBytes));
    Word masks[kLargest + 1];
    AndPlanes<kLargest, 0, PlaneCount(kLargest)>(sum.planes, Broadcast(~uint64_t{0}), masks);
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

// Transposes the 64 x 64 bits in every 64-bit lane of 64 words: bit j of lane l of word i goes to bit i
// of lane l of word j. Recursively swaps off-diagonal squares, from 32 x 32 bits down to single bits.
TFHASH_INLINE void Transpose(Word (&words)[64]) {
  uint64_t low = 0x00000000FFFFFFFF;  // Marks the lower half of every square.
  for (int half = 32; half > 0; half /= 2, low ^= low << half) {
    const Word mask = Broadcast(low);
    for (int i = 0; i < 64; i = ((i | half) + 1) & ~half) {
      const Word moved = And(Xor(ShiftRight(words[i], half), words[i | half]), mask);
      words[i | half] = Xor(words[i | half], moved);
      words[i] = Xor(words[i], ShiftLeft(moved, half));
    }
  }
}

// Builds the pairs for the eight values of a query in a group from the three bit planes of the group.
TFHASH_INLINE void BuildGroup(Word a, Word b, Word c, uint8_t* pairs) {
  const Word ones = Broadcast(~uint64_t{0});
  for (int value = 0; value < 8; ++value) {
    Word low, high;
    CarrySaveAdd(value & 1 ? Xor(a, ones) : a, value & 2 ? Xor(b, ones) : b,
            value & 4 ? Xor(c, ones) : c, low, high);
    Store(pairs + value * kPairBytes, low);
    Store(pairs + value * kPairBytes + sizeof(Word), high);
  }
}

void Build(const uint8_t* codes, int64_t count, int64_t bytes, void* table) {
  uint8_t* pairs = static_cast<uint8_t*>(table);
  // Includes planes left over from the previous 64 bits, because a group may straddle the boundary.
  Word planes[66];
  int kept = 0;
  int64_t group = 0;
  for (int64_t first = 0; first < bytes; first += 8) {
    Word words[64];
    const int64_t length = bytes - first < 8 ? bytes - first : 8;
    // Code i goes to bit i % 64 of lane i / 64.
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
    // Pads the last group with zero bits, which queries have there as well.
    for (int i = kept; i < 3; ++i) planes[i] = Broadcast(0);
    BuildGroup(planes[0], planes[1], planes[2], pairs + group * kGroupBytes);
  }
}

constexpr SlicedKernel kSliced{kBlock, TableBytes, GroupCount, LimitWords,
                               Build,  Select,     SetLimit,   Find,
                               kMaxCountedBytes,   Count};
