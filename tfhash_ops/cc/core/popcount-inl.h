// Distances by population counts of 64-bit integers.
//
// Each vector kernel includes this file once, inside its namespace and target region, after it has
// defined
//   int CountBits(uint64_t).

template <typename Integer>
TFHASH_INLINE uint64_t LoadInteger(const uint8_t* bytes) {
  Integer value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// Loads fewer than eight bytes without reading beyond them.
template <int kBytes>
TFHASH_INLINE uint64_t LoadTail(const uint8_t* bytes) {
  uint64_t value = 0;
  if constexpr (kBytes & 4) value |= LoadInteger<uint32_t>(bytes);
  if constexpr (kBytes & 2) value |= LoadInteger<uint16_t>(bytes + (kBytes & 4)) << 8 * (kBytes & 4);
  if constexpr (kBytes & 1) value |= uint64_t{bytes[kBytes - 1]} << 8 * (kBytes - 1);
  return value;
}

template <int kTail>
TFHASH_INLINE void PopcountDistances(const uint8_t* query, const uint8_t* codes, int64_t count,
                                     int64_t words, int32_t* distances) {
  const int64_t bytes = 8 * words + kTail;
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* code = codes + i * bytes;
    int64_t distance = 0;
    for (int64_t at = 0; at < 8 * words; at += 8) {
      distance += CountBits(LoadInteger<uint64_t>(query + at) ^ LoadInteger<uint64_t>(code + at));
    }
    if constexpr (kTail > 0) {
      distance += CountBits(LoadTail<kTail>(query + 8 * words) ^ LoadTail<kTail>(code + 8 * words));
    }
    distances[i] = static_cast<int32_t>(distance);
  }
}

// The loop over words is unrolled for codes up to this length, and for 32 bytes.
constexpr int64_t kLongestUnrolledPopcount = 16;

template <int kBytes>
void UnrolledPopcount(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t,
                      int32_t* distances) {
  PopcountDistances<kBytes % 8>(query, codes, count, kBytes / 8, distances);
}

template <int kTail>
void LongPopcount(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t bytes,
                  int32_t* distances) {
  PopcountDistances<kTail>(query, codes, count, bytes / 8, distances);
}

using DistancesFunction = decltype(Kernel::distances);

template <int... kLengths>
DistancesFunction ChooseUnrolledPopcount(int64_t bytes, std::integer_sequence<int, kLengths...>) {
  static constexpr DistancesFunction kFunctions[] = {UnrolledPopcount<kLengths + 1>...};
  return kFunctions[bytes - 1];
}

template <int... kTails>
DistancesFunction ChooseLongPopcount(int64_t bytes, std::integer_sequence<int, kTails...>) {
  static constexpr DistancesFunction kFunctions[] = {LongPopcount<kTails>...};
  return kFunctions[bytes % 8];
}

void Distances(const uint8_t* query, const uint8_t* codes, int64_t count, int64_t bytes,
               int32_t* distances) {
  using Lengths = std::make_integer_sequence<int, kLongestUnrolledPopcount>;
  using Tails = std::make_integer_sequence<int, 8>;
  const DistancesFunction compute =
      bytes <= kLongestUnrolledPopcount ? ChooseUnrolledPopcount(bytes, Lengths())
      : bytes == 32                     ? UnrolledPopcount<32>
                                        : ChooseLongPopcount(bytes, Tails());
  compute(query, codes, count, bytes, distances);
}
