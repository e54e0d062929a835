// Arrays that a segment owns, or that lie in a file mapped by the caller.

#ifndef TFHASH_OPS_CC_INDEX_MEMORY_H_
#define TFHASH_OPS_CC_INDEX_MEMORY_H_

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace tfhash {

// Elements in memory of someone else.
template <typename T>
struct View {
  const T* data = nullptr;
  int64_t size = 0;

  const T& operator[](int64_t i) const { return data[i]; }
  const T* begin() const { return data; }
  const T* end() const { return data + size; }
};

// Uninitialized memory. Large blocks ask for large pages, because a search jumps through the tables and
// would otherwise miss the TLB at every bucket.
class Memory {
 public:
  Memory() = default;
  explicit Memory(int64_t bytes) : bytes_(bytes) {
    if (bytes <= 0) return;
    const bool is_large = bytes >= 2 * kLargePage;
    const int64_t alignment = is_large ? kLargePage : 64;
    const int64_t rounded = (bytes + alignment - 1) / alignment * alignment;
    data_.reset(static_cast<uint8_t*>(std::aligned_alloc(alignment, rounded)));
    if (data_ == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    if (is_large) madvise(data_.get(), rounded, MADV_HUGEPAGE);
#endif
  }

  uint8_t* data() const { return data_.get(); }
  int64_t bytes() const { return bytes_; }

 private:
  static constexpr int64_t kLargePage = int64_t{1} << 21;

  struct Free {
    void operator()(uint8_t* data) const { std::free(data); }
  };
  std::unique_ptr<uint8_t, Free> data_;
  int64_t bytes_ = 0;
};

// An array that owns its elements, of a trivial type; not initialized.
template <typename T>
class Owned {
 public:
  Owned() = default;
  explicit Owned(int64_t size) : memory_(size * static_cast<int64_t>(sizeof(T))), size_(size) {}

  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  T& operator[](int64_t i) const { return data()[i]; }
  int64_t size() const { return size_; }
  View<T> view() const { return {data(), size_}; }
  Memory Release() && { return std::move(memory_); }

 private:
  Memory memory_;
  int64_t size_ = 0;
};

}  // namespace tfhash

#endif  // TFHASH_OPS_CC_INDEX_MEMORY_H_
