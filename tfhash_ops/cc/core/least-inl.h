// The minimum of an array of distances.
//
// Each vector kernel includes this file once, inside its namespace and target region, after it has
// defined `Word` and
//   Word LoadUnaligned(const void*), void Store(void*, Word);
//   Word Min(a, b), of signed 32-bit lanes.

int32_t Least(const int32_t* distances, int64_t count) {
  constexpr int64_t kLanes = sizeof(Word) / sizeof(int32_t);
  if (count < kLanes) return *std::min_element(distances, distances + count);
  Word minimum = LoadUnaligned(distances);
  for (int64_t i = kLanes; i + kLanes <= count; i += kLanes) {
    minimum = Min(minimum, LoadUnaligned(distances + i));
  }
  // The last full vector, which may overlap the ones before.
  minimum = Min(minimum, LoadUnaligned(distances + count - kLanes));
  alignas(Word) int32_t lanes[kLanes];
  Store(lanes, minimum);
  return *std::min_element(lanes, lanes + kLanes);
}
