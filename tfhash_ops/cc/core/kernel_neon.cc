#include "kernel.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#include <algorithm>
#include <cstring>
#include <utility>

#define TFHASH_INLINE inline __attribute__((always_inline))

namespace tfhash {
namespace {

using Word = uint64x2_t;

TFHASH_INLINE Word Load(const void* p) { return vld1q_u64(static_cast<const uint64_t*>(p)); }
// Loads need no alignment on this architecture.
TFHASH_INLINE Word LoadUnaligned(const void* p) { return Load(p); }
TFHASH_INLINE void Store(void* p, Word a) { vst1q_u64(static_cast<uint64_t*>(p), a); }
TFHASH_INLINE Word Broadcast(uint64_t a) { return vdupq_n_u64(a); }
TFHASH_INLINE Word Xor(Word a, Word b) { return veorq_u64(a, b); }
TFHASH_INLINE Word And(Word a, Word b) { return vandq_u64(a, b); }
TFHASH_INLINE Word ShiftLeft(Word a, int n) { return vshlq_u64(a, vdupq_n_s64(n)); }
TFHASH_INLINE Word ShiftRight(Word a, int n) { return vshlq_u64(a, vdupq_n_s64(-n)); }
TFHASH_INLINE bool IsZero(Word a) { return (vgetq_lane_u64(a, 0) | vgetq_lane_u64(a, 1)) == 0; }
TFHASH_INLINE Word Min(Word a, Word b) {
  return vreinterpretq_u64_s32(vminq_s32(vreinterpretq_s32_u64(a), vreinterpretq_s32_u64(b)));
}

// The majority of a, b and c is c where a and b differ, otherwise a.
TFHASH_INLINE void CarrySaveAdd(Word a, Word b, Word c, Word& sum, Word& carry) {
  const Word differ = Xor(a, b);
  const Word odd = Xor(differ, c);
  carry = vbslq_u64(differ, c, a);
  sum = odd;
}

TFHASH_INLINE Word NotMajority(Word a, Word b, Word c) { return vbslq_u64(Xor(a, b), b, c); }

// There is no scalar popcount on this architecture; the compiler uses a vector register.
TFHASH_INLINE int CountBits(uint64_t a) { return __builtin_popcountll(a); }

TFHASH_INLINE int64_t CountWord(Word a) { return vaddlvq_u8(vcntq_u8(vreinterpretq_u8_u64(a))); }

#include "popcount-inl.h"
#include "sliced-inl.h"

#include "least-inl.h"

}  // namespace

const Kernel* NeonKernel() {
  static const Kernel kernel{"neon", Distances, Least, &kSliced};
  return &kernel;
}

}  // namespace tfhash

#else

namespace tfhash {
const Kernel* NeonKernel() { return nullptr; }
}  // namespace tfhash

#endif
