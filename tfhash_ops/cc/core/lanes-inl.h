// Distances of codes of up to eight bytes, each in a lane of its own.
//
// Included once by each vector instruction set of x86, inside its own namespace and target region,
// after it has defined
//   Word, Word Broadcast(uint64_t), void PrefetchAhead(const uint8_t*);
//   constexpr int LaneBytes(int bytes), of the lane for a code of so many, 4 or 8;
// and has included popcount-inl.h as `integers`. Defines Distances.

// Codes are taken in steps of 64 bytes of lanes, which are filled from four runs of 16 bytes, each
// from where its first code begins.
template <int kBytes>
struct Lanes {
  static constexpr int kCodesOfStep = 64 / LaneBytes(kBytes);
  static constexpr int kRunBytes = kCodesOfStep / 4 * kBytes;
  // The last run may go beyond the codes of the step.
  static constexpr int kCodesRead = kCodesOfStep / 4 * 3 + (16 + kBytes - 1) / kBytes;

  // For each byte of the lanes of a run, the place in the run that it is taken from; where the code
  // has no such byte -1, for which a shuffle gives zero.
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

// Distances of the codes of a step from the query in every lane. Each instruction set defines it
// after this file.
template <int kBytes>
TFHASH_INLINE void DistancesOfStep(Word query, const uint8_t* codes, int32_t* distances);

template <int kBytes>
void DistancesByLane(const uint8_t* query, const uint8_t* codes, int64_t count,
                     int32_t* distances) {
  uint64_t lane;
  if constexpr (kBytes == 8) {
    lane = integers::LoadInteger<uint64_t>(query);
  } else {
    // Put together in a register: what is stored in pieces is loaded whole only after a wait.
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
