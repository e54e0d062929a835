// A neighbor, and the order of neighbors.

#ifndef TFHASH_OPS_CC_INDEX_NEIGHBOR_H_
#define TFHASH_OPS_CC_INDEX_NEIGHBOR_H_

#include <cstdint>
#include <vector>

namespace tfhash {

struct Neighbor {
  int32_t distance;
  uint32_t part;  // of the index, in the order of the search
  int64_t id;

  friend bool operator<(const Neighbor& a, const Neighbor& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
  }
};

// Sorts by distance, and by id at the same distance. Many take as much memory again.
void SortNeighbors(std::vector<Neighbor>* neighbors);

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_NEIGHBOR_H_
