// Lanes that are a few elements apart: whole vectors are read and the lanes picked of them.
#include <doctest/doctest.h>
#include <kroton/kroton.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

using namespace kroton;  // NOLINT: tests

namespace {

// Memory that ends where no more may be read.
class GuardedMemory {
 public:
  GuardedMemory() : page_(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE))) {
    void* memory =
        ::mmap(nullptr, 5 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    begin_ = static_cast<std::byte*>(memory);
    REQUIRE(::mprotect(begin_ + 4 * page_, page_, PROT_NONE) == 0);
  }
  ~GuardedMemory() { ::munmap(begin_, 5 * page_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  // The last `count` elements of it.
  template <class T>
  T* last(std::int64_t count) const {
    return reinterpret_cast<T*>(begin_ + 4 * page_) - count;
  }

 private:
  std::size_t page_;
  std::byte* begin_;
};

template <class T>
void check_steps(DType dtype) {
  const GuardedMemory memory;
  for (const int step : {2, 3, 4, 5, 7, 8, 11, 16, 17}) {
    for (const bool known : {false, true}) {
      for (const int count : {1, 2, 7, 8, 16, 17, 33, 64}) {
        const std::int64_t size = (count - 1) * step + 1;
        const Tensor x = tensor("x", {known ? Dim(size) : dim("n")}, dtype);
        const auto f = function({x}, x(slice(0, end, step)) * 3 + 1);
        T* data = memory.last<T>(size);
        for (std::int64_t k = 0; k < size; ++k) data[k] = static_cast<T>(k % 101);
        const Array result = f(Array::view(data, Shape{size}));
        REQUIRE(result.shape() == Shape{count});
        for (int k = 0; k < count; ++k) {
          CHECK_MESSAGE(result.data<T>()[static_cast<std::size_t>(k)] ==
                            static_cast<T>(k * step % 101 * 3 + 1),
                        "element " << k << " of " << count << ", step " << step);
        }
        if (known && count > 17) break;
      }
    }
  }
}

}  // namespace

TEST_CASE("strided: every few elements, up to the end of memory") {
  check_steps<float>(f32);
  check_steps<double>(f64);
  check_steps<std::int32_t>(i32);
  check_steps<std::int64_t>(i64);
}

TEST_CASE("strided: rows of a few elements, each reduced in a lane of its own") {
  for (const std::int64_t width : {2, 3, 5, 8, 11, 15, 16, 17}) {
    const Tensor x = tensor("x", {dim("n"), width});
    const auto f = function({x}, {max(x, 1), sum(x * x, 1), cast(argmax(x, 1), f32)});
    for (const std::int64_t rows : {0, 1, 15, 16, 17, 47}) {
      const Array values = Array::normal(Shape{rows, width}, 5);
      const auto [most, squares, place] = f(values);
      for (std::int64_t i = 0; i < rows; ++i) {
        const float* row = values.data<float>().data() + i * width;
        const float* best = std::max_element(row, row + width);
        float total = 0;
        for (std::int64_t j = 0; j < width; ++j) total += row[j] * row[j];
        CHECK(most.data<float>()[static_cast<std::size_t>(i)] == *best);
        CHECK(squares.data<float>()[static_cast<std::size_t>(i)] ==
              doctest::Approx(total).epsilon(1e-6));
        CHECK(place.data<float>()[static_cast<std::size_t>(i)] == static_cast<float>(best - row));
      }
    }
  }
}
