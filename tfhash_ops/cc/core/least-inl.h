// The smallest of some distances.
//
// Each vector instruction set includes this file once, inside its own namespace and target
// region, after it has defined `Word` and
//   Word LoadUnaligned(const void*), void Store(void*, Word);
//   Word Smaller(a, b), of their signed lanes of 32 bits.

int32_t Least(const int32_t* distances, int64_t count) {
  constexpr int64_t kLanes = sizeof(Word) / sizeof(int32_t);
  if (count < kLanes) return *std::min_element(distances, distances + count);
  Word least = LoadUnaligned(distances);
  for (int64_t i = kLanes; i + kLanes <= count; i += kLanes) {
    least = Smaller(least, LoadUnaligned(distances + i));
  }
  // The last lanes once more: some of them may be new.
  least = Smaller(least, LoadUnaligned(distances + count - kLanes));
  alignas(Word) int32_t lanes[kLanes];
  Store(lanes, least);
  return *std::min_element(lanes, lanes + kLanes);
}
