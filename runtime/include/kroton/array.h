#pragma once

#include <array>
#include <atomic>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <kroton/dtype.h>
#include <kroton/error.h>
#include <kroton/shape.h>
#include <kroton/target.h>

namespace kroton {

namespace detail {

// The head of a reference-counted buffer; the elements follow 64 bytes after it, in the same
// allocation, aligned to 64 bytes. What the handles of a view or of an array on a device share, a
// Storage, is in the elements' place.
struct Block {
  std::atomic<std::int64_t> references;
  void* allocation;
  std::size_t large_bytes;  // of the allocation where it is a large one, else 0
  bool has_storage = false;
};

struct Storage;
struct ArrayAccess;

void free_block(Block* block) noexcept;

// A scalar of any dtype on its way to an element. Integers stay exact.
struct Number {
  template <class T>
    requires(std::is_arithmetic_v<T> || Element<T>)
  Number(T value)  // NOLINT(google-explicit-constructor): any number is one
      : floating(is_floating_element<T>), real(static_cast<double>(value)), whole(0) {
    if constexpr (!is_floating_element<T>) {
      whole = static_cast<std::int64_t>(value);
      above_i64 = value > T{0} && whole < 0;
    }
  }

  bool floating;
  double real;
  std::int64_t whole;      // of an unsigned value that int64 does not hold, its bits
  bool above_i64 = false;  // such a value
};

// A number of a list that has several types of them, with the dtype that stores it.
struct ListedNumber : Number {
  template <class T>
    requires(std::is_arithmetic_v<T> || Element<T>)
  ListedNumber(T value)  // NOLINT(google-explicit-constructor): any number is one
      : Number(value),
        dtype(is_floating_element<T>                  ? (sizeof(T) > 4 ? f64 : f32)
              : std::same_as<T, bool>                 ? boolean
              : sizeof(T) + std::is_unsigned_v<T> > 4 ? i64
                                                      : i32) {}

  DType dtype;
};

[[noreturn]] void fail_element(std::size_t k, std::size_t size);

// False, once the types are known: for a static_assert that says what to write instead.
template <class...>
inline constexpr bool never = false;

}  // namespace detail

class Entry;
template <class T>
class Elements;

/// A contiguous range of elements: std::vector, std::array, std::span, a C array.
template <class R>
concept ElementRange =
    std::ranges::contiguous_range<const R> && std::ranges::sized_range<const R> &&
    Element<std::remove_cv_t<std::ranges::range_value_t<const R>>>;

/// An n-dimensional value: a dtype, a shape, and elements in row-major order, in the host's memory
/// or in that of a device.
///
/// An Array is a handle, as in NumPy: a copy is cheap and refers to the same elements, so a write
/// through one is seen through the other. copy() makes new elements. Constness is that of the
/// handle: data(), raw() and a(i, j) give mutable elements on a non-const Array, read-only ones on
/// a const one.
///
/// Elements are either owned (shared by the handles, freed with the last; aligned to 64 bytes) or,
/// for a view, the caller's memory, which must outlive every handle.
///
/// Handles may be used from several threads as std::shared_ptr is; the elements have no lock.
///
/// An array on a device is made by to(), empty() or zeros() with a device, by view() of the
/// caller's memory there, by from_dlpack(), or is the result of a function that leaves it there.
/// Functions on that device use it where it is. What looks at elements (data, raw, item, an index,
/// printing, comparing, cast) is for arrays on the host, and else a DeviceError that names the
/// device: nothing moves unless to() or assign() says so. Work on a device is done in the order in
/// which it is asked for, and later; to(cpu()) waits for it.
class Array {
 public:
  /// No elements: shape (0,), f32.
  Array() noexcept : shape_({0}) {}

  /// A scalar (rank 0) of the type given: `Array(2.0F)`.
  template <Element T>
  explicit Array(T value) : Array(empty(Shape(), dtype_of<T>)) {
    *reinterpret_cast<T*>(data_) = value;
  }

  Array(const Array& other) noexcept
      : block_(other.block_),
        data_(other.data_),
        size_(other.size_),
        shape_(other.shape_),
        dtype_(other.dtype_),
        read_only_(other.read_only_),
        row_major_(other.row_major_),
        on_device_(other.on_device_) {
    if (block_ != nullptr) {
      block_->references.fetch_add(1, std::memory_order_relaxed);
    }
  }
  /// Moving leaves `other` without elements, as Array() is.
  Array(Array&& other) noexcept : Array() { swap(other); }
  /// The handle, not the elements: those of a row are written by a.row(i).assign(values).
  Array& operator=(const Array& other) & noexcept {
    Array(other).swap(*this);
    return *this;
  }
  Array& operator=(Array&& other) & noexcept {
    Array(std::move(other)).swap(*this);
    return *this;
  }
  void operator=(const Array&) && = delete;  // elements are copied by a.row(i).assign(values)
  ~Array() {
    if (block_ != nullptr && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      detail::free_block(block_);
    }
  }
  void swap(Array& other) noexcept;

  // ---- Making arrays. All throw ValueError for a negative extent, for a size that does not fit in
  // ---- memory, and for a value that an integer dtype does not hold.

  /// Elements with no defined value.
  [[nodiscard]] static Array empty(const Shape& shape, DType dtype = f32);
  [[nodiscard]] static Array zeros(const Shape& shape, DType dtype = f32);
  [[nodiscard]] static Array ones(const Shape& shape, DType dtype = f32);
  /// The same in the memory of a device. DeviceError where it is not there or has no room.
  [[nodiscard]] static Array empty(const Shape& shape, DType dtype, const Target& device);
  [[nodiscard]] static Array zeros(const Shape& shape, DType dtype, const Target& device);
  /// Every element is `value`, which an integer dtype must hold exactly.
  [[nodiscard]] static Array full(const Shape& shape, detail::Number value, DType dtype = f32);

  /// start, start + step, ... up to but not including stop; rank 1. Element i is start + i * step,
  /// computed in double precision. Throws ValueError for a zero step or an infinite count,
  /// TypeError for boolean.
  [[nodiscard]] static Array arange(double start, double stop, double step = 1, DType dtype = f32);
  /// 0, 1, ... stop - 1.
  [[nodiscard]] static Array arange(double stop, DType dtype = f32);

  /// Independent normal deviates, by Philox4x32-10 and the Box-Muller transform; a function of the
  /// arguments alone; one of 16 bits is an f32 rounded. Throws TypeError unless dtype is floating,
  /// ValueError for stddev < 0.
  [[nodiscard]] static Array normal(const Shape& shape, std::uint64_t seed, double mean = 0,
                                    double stddev = 1, DType dtype = f32);
  /// Independent uniform deviates in [low, high), by Philox4x32-10; a function of the arguments
  /// alone; one of 16 bits is an f32 rounded down. Throws TypeError unless dtype is floating,
  /// ValueError unless low < high in the dtype.
  [[nodiscard]] static Array uniform(const Shape& shape, std::uint64_t seed, double low = 0,
                                     double high = 1, DType dtype = f32);

  /// A copy of a contiguous range of elements, of rank 1 and of the range's element type.
  template <ElementRange R>
  [[nodiscard]] static Array from(const R& values) {
    const auto count = static_cast<std::int64_t>(std::ranges::size(values));
    return from_elements(std::ranges::data(values), count, Shape{count});
  }
  /// A copy of a range in row-major order. Throws ShapeError when the sizes differ.
  template <ElementRange R>
  [[nodiscard]] static Array from(const R& values, const Shape& shape) {
    return from_elements(std::ranges::data(values),
                         static_cast<std::int64_t>(std::ranges::size(values)), shape);
  }
  template <class R, class... Rest>
    requires(std::ranges::range<const R> && !ElementRange<R> && !std::same_as<R, std::vector<bool>>)
  static Array from(const R&, const Rest&...) {
    static_assert(
        detail::never<R>,
        "Array::from copies a vector, span, array or braced list whose elements are bool, "
        "std::int8_t to std::int64_t, std::uint8_t to std::uint64_t, kt::float16, kt::bfloat16, "
        "float or double; convert the elements first");
    return {};
  }
  /// The same from a vector of bits.
  template <std::same_as<std::vector<bool>> Bits>
  [[nodiscard]] static Array from(const Bits& values) {
    return from_bits(values, Shape{static_cast<std::int64_t>(values.size())});
  }
  template <std::same_as<std::vector<bool>> Bits>
  [[nodiscard]] static Array from(const Bits& values, const Shape& shape) {
    return from_bits(values, shape);
  }

  /// `Array::from({1.0F, 2.0F})`: rank 1.
  template <Element T>
  [[nodiscard]] static Array from(std::initializer_list<T> values) {
    const auto count = static_cast<std::int64_t>(values.size());
    return from_elements(values.begin(), count, Shape{count});
  }
  template <class T>
    requires(!std::is_arithmetic_v<T> && !Element<T>)
  static Array from(std::initializer_list<T>) = delete;  // an Array is made of numbers
  /// `Array::from({1.0F, 2.0F}, {2, 1})`. Throws ShapeError when the sizes differ.
  template <Element T>
  [[nodiscard]] static Array from(std::initializer_list<T> values, const Shape& shape) {
    return from_elements(values.begin(), static_cast<std::int64_t>(values.size()), shape);
  }
  /// `Array::from({{1.0F, 2.0F}, {3.0F, 4.0F}})`: rank 2. Throws ShapeError when the rows differ in
  /// length.
  template <Element T>
  [[nodiscard]] static Array from(std::initializer_list<std::initializer_list<T>> rows) {
    const std::size_t columns = rows.size() == 0 ? 0 : rows.begin()->size();
    std::vector<Storage<T>> values;
    values.reserve(rows.size() * columns);
    for (const auto& row : rows) {
      if (row.size() != columns) {
        fail_ragged(static_cast<std::size_t>(&row - rows.begin()), row.size(), columns);
      }
      values.insert(values.end(), row.begin(), row.end());
    }
    return from_elements(
        reinterpret_cast<const T*>(values.data()), static_cast<std::int64_t>(values.size()),
        Shape{static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(columns)});
  }

  /// `Array::from({1, 2.5})`: numbers of several types, of which the array has the largest in the
  /// order boolean < i32 < i64 < f32 < f64.
  [[nodiscard]] static Array from(std::initializer_list<detail::ListedNumber> values);
  [[nodiscard]] static Array from(std::initializer_list<detail::ListedNumber> values,
                                  const Shape& shape);
  [[nodiscard]] static Array from(
      std::initializer_list<std::initializer_list<detail::ListedNumber>> rows);

  /// The caller's memory as an array, not copied. A pointer to const gives a read-only view. Throws
  /// ValueError for a null pointer to one element or more.
  template <class T>
    requires Element<std::remove_const_t<T>>
  [[nodiscard]] static Array view(T* data, const Shape& shape) {
    return view_of(const_cast<std::remove_const_t<T>*>(data), dtype_of<std::remove_const_t<T>>,
                   shape, std::is_const_v<T>);
  }
  /// The same with strides, counted in elements: element (i, j) is data[i * strides[0] + j *
  /// strides[1]]. Strides may be zero or negative. Throws ValueError unless there is one stride per
  /// extent.
  template <class T>
    requires Element<std::remove_const_t<T>>
  [[nodiscard]] static Array view(T* data, const Shape& shape, const Shape& strides) {
    return view_of(const_cast<std::remove_const_t<T>*>(data), dtype_of<std::remove_const_t<T>>,
                   shape, strides, std::is_const_v<T>);
  }
  /// The caller's memory on a CUDA device, row-major: `Array::view(kt::cuda(), data, {2, 3})`. Work
  /// with it waits for what is in the caller's `stream` (a cudaStream_t or CUstream; null: the
  /// default stream) when it is asked for, and what comes into that stream later waits for the
  /// work. The memory may be freed when what was in the stream after the last use is done. Throws
  /// DeviceError where the device is not there, and for memory that is not on it, ValueError for a
  /// null pointer to one element or more and for an address that is no multiple of the element's
  /// size. A device of cpu() gives a view of the host's memory.
  template <class T>
    requires Element<std::remove_const_t<T>>
  [[nodiscard]] static Array view(const Target& device, T* data, const Shape& shape,
                                  void* stream = nullptr) {
    return view_of(device, const_cast<std::remove_const_t<T>*>(data),
                   dtype_of<std::remove_const_t<T>>, shape, std::is_const_v<T>, stream);
  }

  // ---- Where they are.

  /// Where the elements lie: cpu(), or the CUDA device.
  [[nodiscard]] Target device() const noexcept;
  [[nodiscard]] bool is_on_device() const noexcept { return on_device_; }
  /// The same elements there: this array if it is there already, else a row-major copy. One to the
  /// host waits for what computes the elements; one to a device has read the host's when it
  /// returns, which may be changed then. From one device to another it goes through the host's
  /// memory. DeviceError where the device is not there, has no room or fails.
  [[nodiscard]] Array to(const Target& target) const;
  /// The address of the first element on the device, for code of your own: a CUdeviceptr. What
  /// Kroton does with the array is done after synchronize(a.device()). DeviceError for an array on
  /// the host; the mutable one ValueError for a read-only view.
  [[nodiscard]] const void* device_pointer() const;
  [[nodiscard]] void* device_pointer();

  // ---- Looking at them.

  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  [[nodiscard]] const Shape& shape() const& noexcept { return shape_; }
  [[nodiscard]] Shape shape() const&& noexcept { return shape_; }
  [[nodiscard]] int rank() const noexcept { return shape_.rank(); }
  /// The number of elements.
  [[nodiscard]] std::int64_t size() const noexcept { return size_; }
  /// Bytes of the elements, size() * size_of(dtype()).
  [[nodiscard]] std::int64_t nbytes() const noexcept { return size_ * size_of(dtype_); }
  /// Whether the elements lie in row-major order without gaps; only a view with strides may not.
  [[nodiscard]] bool is_row_major() const noexcept { return row_major_; }
  /// Whether this is a view of const memory.
  [[nodiscard]] bool is_read_only() const noexcept { return read_only_; }
  /// The distance in elements between neighbours along each axis.
  [[nodiscard]] Shape strides() const noexcept;

  /// The elements in row-major order, valid while a handle to them lives. Throws TypeError when T
  /// is not the dtype, ValueError when the array is not row-major.
  template <Element T>
  [[nodiscard]] std::span<const T> data() const& {
    check_data(dtype_of<T>);
    return {reinterpret_cast<const T*>(data_), static_cast<std::size_t>(size_)};
  }
  /// The same, mutable. Throws also ValueError for a read-only view.
  template <Element T>
  [[nodiscard]] std::span<T> data() & {
    check_data(dtype_of<T>);
    check_writable();
    return {reinterpret_cast<T*>(data_), static_cast<std::size_t>(size_)};
  }
  /// Those of an array without a name, which they keep: `for (float v : f(x).data<float>())`.
  template <Element T>
  [[nodiscard]] Elements<const T> data() const&&;
  template <Element T>
  [[nodiscard]] Elements<T> data() &&;
  template <class T>
    requires(!Element<T>)
  void data() const& = delete;  // elements are bool, std::int8_t ... std::uint64_t, kt::float16,
                                // kt::bfloat16, float or double
  void data() const& = delete;  // name the type of the elements: a.data<float>()
  /// The address of the first element, also for a view with strides. DeviceError for an array on a
  /// device, as from all that looks at elements.
  [[nodiscard]] const void* raw() const {
    check_host("raw");
    return data_;
  }
  /// The same, mutable. Throws ValueError for a read-only view.
  [[nodiscard]] void* raw() {
    check_host("raw");
    check_writable();
    return data_;
  }

  /// The only element. item<double>() converts from any dtype (an i64 or u64 above 2^53 is
  /// rounded); any other T must be the dtype, or TypeError. Throws ValueError unless size() is 1.
  template <Element T>
  [[nodiscard]] T item() const {
    if constexpr (std::same_as<T, double>) {
      return item_as_double();
    } else {
      check_item(dtype_of<T>);
      return *reinterpret_cast<const T*>(data_);
    }
  }
  template <class T>
    requires(!Element<T>)
  void item() const = delete;  // elements are bool, std::int8_t ... std::uint64_t, kt::float16,
                               // kt::bfloat16, float or double
  void item() const = delete;  // name the type of the element: a.item<float>()

  // ---- Elements by index. A negative index counts from the end. All throw ValueError for an index
  // ---- outside its axis.

  /// Element (i, j, ...), one index per axis (ShapeError): `double v = a(1, 2)`, `a(1, 2) = 0.5`.
  template <std::integral... Index>
  [[nodiscard]] const Entry operator()(Index... indices) const;  // NOLINT: not to be assigned
  template <std::integral... Index>
  [[nodiscard]] Entry operator()(Index... indices);

  /// Row i along the first axis, as a handle to the same elements, of the rank below: a.row(2)(0),
  /// a.row(-1).data<float>(). ShapeError for a scalar.
  [[nodiscard]] Array row(std::int64_t i) const;
  /// Copies the elements of an array of the same dtype (TypeError) and shape (ShapeError) into
  /// these: `a.row(2).assign(b)`. Either may be on a device, and they need not be on the same one.
  /// Throws ValueError for a read-only view.
  void assign(const Array& values);

  // ---- Making others of them.

  /// New elements with the same values, in row-major order, where these are.
  [[nodiscard]] Array copy() const;
  /// This array when it is row-major, otherwise a copy that is.
  [[nodiscard]] Array contiguous() const;
  /// The values as another dtype; this array when it has the dtype already. To boolean: whether not
  /// zero (NaN is true). Float to integer rounds toward zero; NaN gives 0 and values outside the
  /// range its nearest end. An integer keeps its low bits: i64 to i32 the low 32, i8 to u8 all 8.
  /// f16 and bf16 are rounded to the nearest, of two to the even one; integers become f32 first.
  [[nodiscard]] Array cast(DType dtype) const;
  /// The same elements under another shape. One extent may be -1 and is then worked out. Throws
  /// ShapeError when the sizes differ, ValueError when the array is not row-major.
  [[nodiscard]] Array reshape(const Shape& shape) const;

 private:
  // std::vector<bool> has no bytes to copy from.
  template <class T>
  using Storage = std::conditional_t<std::same_as<T, bool>, unsigned char, T>;

  template <Element T>
  static Array from_elements(const T* values, std::int64_t count, const Shape& shape) {
    return from_bytes(values, count, shape, dtype_of<T>);
  }
  static Array from_bits(const std::vector<bool>& values, const Shape& shape);
  static Array from_bytes(const void* values, std::int64_t count, const Shape& shape, DType dtype);
  static Array make(const Shape& shape, DType dtype, bool zeroed);
  static Array view_of(void* data, DType dtype, const Shape& shape, bool read_only);
  static Array view_of(void* data, DType dtype, const Shape& shape, const Shape& strides,
                       bool read_only);
  static Array view_of(const Target& device, void* data, DType dtype, const Shape& shape,
                       bool read_only, void* stream);

  // assign() where one of both is on a device: same dtype and shape, not empty.
  void assign_between(const Array& values);

  // The scalar at these indices, on the same memory.
  [[nodiscard]] Array element(std::span<const std::int64_t> indices) const;

  void check_data(DType dtype) const {
    if (dtype != dtype_ || !row_major_ || on_device_) {
      fail_data(dtype);
    }
  }
  void check_item(DType dtype) const {
    if (dtype != dtype_ || size_ != 1 || on_device_) {
      fail_item(dtype);
    }
  }
  void check_host(const char* operation) const {
    if (on_device_) {
      fail_on_device(operation);
    }
  }
  void check_writable() const {
    if (read_only_) {
      fail_read_only();
    }
  }
  [[nodiscard]] double item_as_double() const;
  [[noreturn]] void fail_data(DType dtype) const;
  [[noreturn]] void fail_item(DType dtype) const;
  [[noreturn]] void fail_on_device(const char* operation) const;
  [[noreturn]] static void fail_read_only();
  [[noreturn]] static void fail_ragged(std::size_t row, std::size_t length, std::size_t expected);

  friend struct detail::ArrayAccess;

  // The owned elements; for a view with strides or an owner and on a device, a Storage; null for a
  // row-major view of the caller's.
  detail::Block* block_ = nullptr;
  std::byte* data_ = nullptr;
  std::int64_t size_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
  bool read_only_ = false;
  bool row_major_ = true;
  bool on_device_ = false;  // data_ is an address there
};

/// One element of an Array, of whatever dtype. It reads as a number and is assigned one.
class Entry {
 public:
  /// As a double; ValueError for an i64 or u64 that is none.
  operator double() const;  // NOLINT(google-explicit-constructor): an element is a number
  /// Typed, as Array::item: item<double>() converts, any other T must be the dtype (TypeError).
  template <Element T>
  [[nodiscard]] T item() const {
    return array_.item<T>();
  }
  [[nodiscard]] DType dtype() const noexcept { return array_.dtype(); }

  /// Writes the element. Throws ValueError for a value that an integer dtype does not hold, and for
  /// a read-only view.
  Entry& operator=(detail::Number value) {
    set(value);
    return *this;
  }
  Entry& operator=(const Entry& value) {
    set_from(value);
    return *this;
  }
  Entry(const Entry&) = default;
  ~Entry() = default;
  Entry& operator+=(double value) { return *this = *this + value; }
  Entry& operator-=(double value) { return *this = *this - value; }
  Entry& operator*=(double value) { return *this = *this * value; }
  Entry& operator/=(double value) { return *this = *this / value; }

  // Two of them meet as numbers, not as the constants of an expression.
  friend double operator+(const Entry& a, const Entry& b) { return double{a} + double{b}; }
  friend double operator-(const Entry& a, const Entry& b) { return double{a} - double{b}; }
  friend double operator*(const Entry& a, const Entry& b) { return double{a} * double{b}; }
  friend double operator/(const Entry& a, const Entry& b) { return double{a} / double{b}; }
  friend double operator-(const Entry& a) { return -double{a}; }
  friend bool operator==(const Entry& a, const Entry& b) { return double{a} == double{b}; }
  friend std::partial_ordering operator<=>(const Entry& a, const Entry& b) {
    return double{a} <=> double{b};
  }
  friend std::ostream& operator<<(std::ostream& stream, const Entry& entry);

 private:
  friend class Array;
  explicit Entry(Array array) : array_(std::move(array)) {}
  void set(detail::Number value);
  void set_from(const Entry& value);

  Array array_;  // a scalar on the element's memory
};

template <std::integral... Index>
const Entry Array::operator()(Index... indices) const {  // NOLINT: not to be assigned
  const std::array<std::int64_t, sizeof...(Index)> list{static_cast<std::int64_t>(indices)...};
  return Entry(element(list));
}
template <std::integral... Index>
Entry Array::operator()(Index... indices) {
  const std::array<std::int64_t, sizeof...(Index)> list{static_cast<std::int64_t>(indices)...};
  return Entry(element(list));
}

/// The elements of an Array without a name, and the Array. What would outlive both does not
/// compile.
template <class T>
class Elements {
  struct Nothing {};
  using Mutable =
      std::conditional_t<std::is_const_v<T>, Nothing, std::span<std::remove_const_t<T>>>;

 public:
  using value_type = std::remove_const_t<T>;
  explicit Elements(Array array)
      : array_(std::move(array)), elements_(std::as_const(array_).template data<value_type>()) {}

  [[nodiscard]] T* data() const& { return first(); }
  [[nodiscard]] T* begin() const& { return first(); }
  [[nodiscard]] T* end() const& { return first() + elements_.size(); }
  [[nodiscard]] std::size_t size() const { return elements_.size(); }
  [[nodiscard]] bool empty() const { return elements_.empty(); }
  /// Throws ValueError for k >= size().
  [[nodiscard]] T& operator[](std::size_t k) const {
    if (k >= elements_.size()) {
      detail::fail_element(k, elements_.size());
    }
    return first()[k];
  }
  operator std::span<T>() const& { return {first(), size()}; }  // NOLINT: they are that

  T* data() && = delete;                               // name the elements first: auto v = ...
  T* begin() && = delete;                              // name the elements first: auto v = ...
  T* end() && = delete;                                // name the elements first: auto v = ...
  operator std::span<const value_type>() && = delete;  // NOLINT: name the elements first
  operator Mutable() && = delete;                      // NOLINT: name the elements first

 private:
  [[nodiscard]] T* first() const { return const_cast<T*>(elements_.data()); }

  Array array_;
  std::span<const value_type> elements_;
};

template <Element T>
Elements<const T> Array::data() const&& {
  return Elements<const T>(*this);
}
template <Element T>
Elements<T> Array::data() && {
  check_writable();
  return Elements<T>(std::move(*this));
}

/// Nested brackets with aligned columns as NumPy prints them: up to 8 digits after the point,
/// scientific notation where magnitudes differ widely; above 1000 elements only the first and last
/// three along each axis. Of an array on a device what it is and where, without elements.
[[nodiscard]] std::string to_string(const Array& array);
std::ostream& operator<<(std::ostream& stream, const Array& array);

/// Whether dtypes, shapes and all elements are equal. A NaN equals a NaN only if `equal_nan`.
[[nodiscard]] bool array_equal(const Array& a, const Array& b, bool equal_nan = false);

/// Whether the shapes are equal and |a - b| <= atol + rtol * |b| for all elements, computed in
/// double precision; the dtypes may differ. Infinities are close to themselves only; a NaN is close
/// to a NaN only if `equal_nan`.
[[nodiscard]] bool all_close(const Array& a, const Array& b, double rtol = 1e-5, double atol = 1e-8,
                             bool equal_nan = false);

}  // namespace kroton
