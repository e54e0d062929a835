// Distances of codes of up to eight bytes, one code per vector lane.
//
// Each x86 vector kernel includes this file once, inside its namespace and target region, after it has
// defined
//   Word, Word Broadcast(uint64_t), void PrefetchAhead(const uint8_t*);
//   constexpr int LaneBytes(int bytes), the lane size for a code of that length, 4 or 8;
// and has included popcount-inl.h in namespace `integers`. Defines Distances.

// A step processes 64 bytes of lanes. They are filled from four loads of 16 bytes ("runs"), each
// starting at the first code of its quarter.
template <int kBytes>
struct Lanes {
  static constexpr int kCodesOfStep = 64 / LaneBytes(kBytes);
  static constexpr int kRunBytes = kCodesOfStep / 4 * kBytes;
  // The last run may extend beyond the codes of the step.
  static constexpr int kCodesRead = kCodesOfStep / 4 * 3 + (16 + kBytes - 1) / kBytes;

  // Shuffle indices from a run to its lanes. -1 gives a zero byte where a lane is longer than a code.
  int8_t order[16];

  constexpr Lanes() : order() {
    constexpr int kLane = LaneBytes(kBytes);
    for (int i = 0; i < 16; ++i) order[i] = i % kLane < kBytes ? i / kLane * kBytes + i % kLane : -1;
  }
};

template <int kBytes>
constexpr Lanes<kBytes> kLanes;

TFHASH_INLINE __m128i LoadRun(const void* p) {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

// Distances of the codes of a step to the query, which is repeated in every lane. Each kernel defines
// it after including this file.
template <int kBytes>
TFHASH_INLINE void DistancesOfStep(Word query, const uint8_t* codes, int32_t* distances);

template <int kBytes>
void DistancesByLane(const uint8_t* query, const uint8_t* codes, int64_t count,
                     int32_t* distances) {
  uint64_t lane;
  if constexpr (kBytes == 8) {
    lane = integers::LoadInteger<uint64_t>(query);
  } else {
    // Assembled in a register: a wide load right after narrow stores would stall.
    lane = integers::LoadTail<kBytes>(query);
  }
  if (LaneBytes(kBytes) == 4) lane |= lane << 32;
  const Word all = Broadcast(lane);
  int64_t i = 0;
  for (; i + Lanes<kBytes>::kCodesRead <= count; i += Lanes<kBytes>::kCodesOfStep) {
    PrefetchAhead(codes + kBytes * i);
    DistancesOfStep<kBytes>(all, codes + kBytes * i, distances + i);
  }
  integers::Distances(query, codes + kBytes * i, count - i, kBytes, distances + i);
}

template <int... kLengths>
void ShortDistances(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t bytes,
                    int32_t* distances, std::integer_sequence<int, kLengths...>) {
  static constexpr decltype(&DistancesByLane<1>) kByLane[] = {DistancesByLane<kLengths + 1>...};
  kByLane[bytes - 1](query, codes, count, distances);
}

void Distances(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t bytes,
               int32_t* distances) {
  constexpr int kLongest = 8;
  if (bytes <= kLongest) {
    ShortDistances(query, codes, count, bytes, distances,
                   std::make_integer_sequence<int, kLongest>());
  } else {
    integers::Distances(query, codes, count, bytes, distances);
  }
}
