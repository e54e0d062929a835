// All pairs of distinct codes within a radius, by the pigeonhole principle.
//
// The codes fall into buckets by a piece of the code; a bucket that is still large falls into smaller
// ones by a further piece; codes that share a bucket are compared. Where buckets would be as large as
// what they are made from, all pairs are compared at once: before any code moves, the buckets of a part
// of the codes are counted.
// A pair that agrees in many pieces meets in many buckets, and counts in the first of them alone.

#ifndef TFHASH_OPS_CC_JOIN_JOIN_H_
#define TFHASH_OPS_CC_JOIN_JOIN_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "join/join_threads.h"

namespace tfhash::join {

// Two distinct codes, a < b, and their distance.
struct Edge {
  uint32_t a;
  uint32_t b;
  int32_t distance;
};

// Receives the edges in no particular order, from one thread at a time.
class EdgeSink {
 public:
  virtual ~EdgeSink() = default;
  virtual void Take(const std::vector<Edge>& edges) = 0;
};

// Thrown where `is_cancelled` has become other than 0.
struct Cancelled {};

// Gives the sink every pair of codes at most `radius` bits apart, once.
//
// `codes` holds `count` distinct codes of ceil(bits / 64) words each; bits above `bits` are zero. The
// join takes as much memory again, twice, and what the sink keeps.
//
// REQUIRES: 0 <= count < 2^32; bits >= 1; radius >= 0; this CPU can run the kernel
void JoinDistinct(const std::string& kernel, const std::vector<uint64_t>& codes, int64_t bits,
                  int64_t radius, JoinThreads* threads, const std::atomic<int32_t>* is_cancelled,
                  EdgeSink* sink);

}  // namespace tfhash::join

#endif  // TFHASH_OPS_CC_JOIN_JOIN_H_
