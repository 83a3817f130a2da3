// Memory that is watched per element: two threads that touch one element without a barrier between
// them, one of them writing, are an error even where the order of this run hides it.
#pragma once
#include "block.h"

namespace emulator {

// ---- What threads do to an element, and whether that may be.

// The access happened before what the current thread does now, whatever the order of threads.
inline bool is_before(const Access& access) {
  if (access.meeting != machine.meeting) return true;
  if (access.many_blocks || access.block != machine.block.x) return false;
  if (access.barrier != machine.barrier) return true;
  const unsigned warp = thread_number() / 32;
  return !access.many_warps && access.thread / 32 == warp &&
         access.warp_barrier != machine.warp_barriers[warp];
}

inline bool conflicts(const Access& access, bool atomic) {
  if (access.launch != machine.launch) return false;
  if (access.block == machine.block.x && !access.many && !access.many_blocks &&
      access.thread == thread_number()) {
    return false;
  }
  if (atomic && access.atomic) return false;
  return !is_before(access);
}

inline void note(Access& access, bool atomic) {
  const unsigned self = thread_number();
  const bool same =
      access.launch == machine.launch && access.block == machine.block.x && !is_before(access);
  const bool other = same && (access.many || access.thread != self);
  access.many_warps = other && (access.many_warps || access.thread / 32 != self / 32);
  access.many = other;
  access.many_blocks = machine.request->together != 0 && access.launch == machine.launch &&
                       access.meeting == machine.meeting &&
                       (access.many_blocks || access.block != machine.block.x);
  access.atomic = atomic;
  access.launch = machine.launch;
  access.block = machine.block.x;
  access.barrier = machine.barrier;
  access.meeting = machine.meeting;
  access.warp_barrier = machine.warp_barriers[self / 32];
  access.thread = static_cast<uint16_t>(self);
}

inline void check(const Access& access, bool atomic, const char* before, const char* now,
                  const char* what, long long number, long long index) {
  if (!conflicts(access, atomic)) return;
  fail(
      "race: thread %u of block %u %s element %lld of %s %lld, which thread %d of block %u %s "
      "with no barrier between",
      thread_number(), machine.block.x, now, index, what, number, int(access.thread), access.block,
      before);
}

inline void note_read(Log& log, const char* what, long long number, long long index) {
  check(log.write, false, "writes", "reads", what, number, index);
  note(log.read, false);
}

inline void note_write(Log& log, const char* what, long long number, long long index,
                       bool atomic = false) {
  check(log.write, atomic, "writes", "writes", what, number, index);
  check(log.read, false, "reads", "writes", what, number, index);
  note(log.write, atomic);
}

// ---- Memory that is watched.

template <class T>
struct Plain {
  using Type = T;
};
template <class T>
struct Plain<const T> {
  using Type = T;
};

// The index in x[i], a number or an element of an array, and the line that it stands in.
struct At {
  long long i;
  int line;
  template <class I>
  At(const I& index, int at = __builtin_LINE()) : i(static_cast<long long>(index)), line(at) {}
};

// One element, as x[i] gives it.
template <class T>
struct Element {
  using Value = typename Plain<T>::Type;
  T* place;
  Log* log;
  const char* what;
  long long number, index;
  int line;

  void touch(bool writes) const {
    const Launch& request = *machine.request;
    if (!request.touch) return;
    const bool is_shared = what[0] == 't';
    request.touch(request.environment, is_shared ? -number : number, line, writes, thread_number(),
                  is_shared ? index * sizeof(T) : reinterpret_cast<uint64_t>(place), sizeof(T));
  }
  operator Value() const {
    note_read(*log, what, number, index);
    touch(false);
    return *place;
  }
  Value operator=(Value value) const {
    note_write(*log, what, number, index);
    touch(true);
    *place = value;
    return value;
  }
  Value operator=(const Element& other) const { return *this = static_cast<Value>(other); }
  Value operator+=(Value value) const { return *this = static_cast<Value>(*this) + value; }
  Value operator-=(Value value) const { return *this = static_cast<Value>(*this) - value; }
  Value operator*=(Value value) const { return *this = static_cast<Value>(*this) * value; }
  // For atomic operations, on which several threads may meet.
  T* atomically() const {
    note_write(*log, what, number, index, true);
    return place;
  }
};

// A pointer parameter of a kernel.
template <class T>
struct Global {
  T* data;
  long long count;
  Log* logs;  // of bytes
  long long number;

  Element<T> operator[](At at) const {
    const long long i = at.i;
    if (i < 0 || i >= count) {
      fail("thread %u of block %u: element %lld of argument %lld, which has %lld elements",
           thread_number(), machine.block.x, i, number, count);
    }
    return {data + i, logs + i * static_cast<long long>(sizeof(T)), "argument", number, i, at.line};
  }
};

// Neighbours by one access.
template <int N, class T>
inline void touch_together(const Global<T>& array, At at, bool writes) {
  const Element<T> first = array[at];
  array[At(at.i + N - 1, at.line)];
  const uint64_t bytes = N * sizeof(T) < 16 ? N * sizeof(T) : 16;  // of one access
  if (reinterpret_cast<uint64_t>(first.place) % bytes != 0) {
    fail("thread %u of block %u: %d elements from %lld of argument %lld are not aligned",
         thread_number(), machine.block.x, N, at.i, array.number);
  }
  const Launch& request = *machine.request;
  if (!request.touch) return;
  request.touch(request.environment, array.number, at.line, writes, thread_number(),
                reinterpret_cast<uint64_t>(first.place), N * sizeof(T));
}
template <int N, class V, class T>
inline void load_together(V (&to)[N], const Global<T>& from, At at) {
  touch_together<N>(from, at, false);
  for (int k = 0; k < N; ++k) {
    const Element<T> one = from[At(at.i + k, at.line)];
    note_read(*one.log, one.what, one.number, one.index);
    to[k] = *one.place;
  }
}
template <int N, class V, class T>
inline void store_together(const Global<T>& to, At at, const V (&from)[N]) {
  touch_together<N>(to, at, true);
  for (int k = 0; k < N; ++k) {
    const Element<T> one = to[At(at.i + k, at.line)];
    note_write(*one.log, one.what, one.number, one.index);
    *one.place = from[k];
  }
}

// An array in the shared memory of a block. Every block finds it without values.
template <class T, int N>
struct Shared {
  T data[N];
  Log logs[N];
  uint32_t logged[N];    // the serial number of the block that the log is of
  uint32_t arriving[N];  // that of the block of which a copy is on its way here
  uint32_t written[N];   // that of the block that wrote it last
  int line;

  explicit Shared(int at) : line(at) {
    memset(logged, 0, sizeof logged);
    memset(arriving, 0, sizeof arriving);
    memset(written, 0, sizeof written);
  }
  struct Place {
    Shared& array;
    long long i;
    int at;
    Element<T> element() const {
      if (array.arriving[i] == machine.serial) {
        fail(
            "thread %u of block %u touches element %lld of the shared array of line %d, to which a "
            "copy is on its way",
            thread_number(), machine.block.x, i, array.line);
      }
      if (array.logged[i] != machine.serial) array.logs[i] = Log();
      array.logged[i] = machine.serial;
      return {array.data + i, array.logs + i, "the shared array of line", array.line, i, at};
    }
    Element<T> readable() const {
      const Element<T> found = element();
      if (array.written[i] != machine.serial) {
        fail(
            "thread %u of block %u reads element %lld of the shared array of line %d, which no "
            "thread of the block has written",
            thread_number(), machine.block.x, i, array.line);
      }
      return found;
    }
    operator T() const { return readable(); }
    T operator=(T value) const {
      array.written[i] = machine.serial;
      return element() = value;
    }
    T operator=(const Place& other) const { return *this = static_cast<T>(other); }
    T operator+=(T value) const { return *this = static_cast<T>(*this) + value; }
    T operator-=(T value) const { return *this = static_cast<T>(*this) - value; }
    T operator*=(T value) const { return *this = static_cast<T>(*this) * value; }
    T* atomically() const { return readable().atomically(); }
  };
  Place operator[](At at) {
    const long long i = at.i;
    if (i < 0 || i >= N) {
      fail(
          "thread %u of block %u: element %lld of the shared array of line %d, which has %d "
          "elements",
          thread_number(), machine.block.x, i, line, N);
    }
    return {*this, i, at.line};
  }
};

// One for each of the blocks that run at once, made when that needs it.
template <class T, int N>
struct SharedOfBlocks {
  int line;
  Shared<T, N>** arrays = nullptr;
  int count = 0;
  explicit SharedOfBlocks(int at) : line(at) {}
  Shared<T, N>& own() {
    if (machine.place >= count) {
      const int before = count;
      count = machine.place + 1;
      arrays = static_cast<Shared<T, N>**>(
          realloc(arrays, static_cast<size_t>(count) * sizeof(Shared<T, N>*)));
      for (int k = before; k < count; ++k) arrays[k] = nullptr;
    }
    Shared<T, N>*& array = arrays[machine.place];
    if (!array) array = new Shared<T, N>(line);
    return *array;
  }
};

}  // namespace emulator
