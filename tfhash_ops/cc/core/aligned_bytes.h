#ifndef TFHASH_OPS_CC_CORE_ALIGNED_BYTES_H_
#define TFHASH_OPS_CC_CORE_ALIGNED_BYTES_H_

#include <cstdint>
#include <new>

namespace tfhash {

// Memory aligned for vector loads and stores.
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t size) : data_(::operator new(size, kAlignment)) {}
  ~AlignedBytes() { ::operator delete(data_, kAlignment); }
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;

  void* data() { return data_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  void* data_;
};

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_CORE_ALIGNED_BYTES_H_
