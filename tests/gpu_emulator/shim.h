// What CUDA C++ source needs to run on the CPU. The emulator puts this text before the source and
// compiles both as a shared object; nothing else includes it.
//
// Blocks run one after the other; every thread of a block is a fiber that runs until it waits or
// returns. Memory is watched per element: two threads that touch one element without a barrier
// between them, one of them writing, are an error even where the order of this run hides it.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
float fmaf(float, float, float) noexcept;
double fma(double, double, double) noexcept;
float sqrtf(float) noexcept;
double sqrt(double) noexcept;
float floorf(float) noexcept;
double floor(double) noexcept;
float ceilf(float) noexcept;
double ceil(double) noexcept;
float fmodf(float, float) noexcept;
double fmod(double, double) noexcept;
float copysignf(float, float) noexcept;
double copysign(double, double) noexcept;
float rintf(float) noexcept;
double rint(double) noexcept;
float truncf(float) noexcept;
double trunc(double) noexcept;
float fabsf(float) noexcept;
double fabs(double) noexcept;
float fminf(float, float) noexcept;
double fmin(double, double) noexcept;
float fmaxf(float, float) noexcept;
double fmax(double, double) noexcept;
float copysignf(float, float) noexcept;
double copysign(double, double) noexcept;
}

// void kroton_emulator_switch(void** save, void* load): the fiber's registers go on its own stack.
extern "C" void kroton_emulator_switch(void** save, void* load)
    __attribute__((visibility("hidden")));
#if defined(__x86_64__)
asm(R"(
.text
.hidden kroton_emulator_switch
.globl kroton_emulator_switch
.type kroton_emulator_switch,@function
kroton_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size kroton_emulator_switch, .-kroton_emulator_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.hidden kroton_emulator_switch
.globl kroton_emulator_switch
.type kroton_emulator_switch,@function
kroton_emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size kroton_emulator_switch, .-kroton_emulator_switch
)");
#else
#error "the emulator switches fibers on x86-64 and aarch64"
#endif

namespace emulator {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

// What the host passes for one launch; laid out alike in kernels.h.
struct Launch {
  int64_t number;  // of all launches of the process: logs outlive this source's
  int64_t blocks;
  int64_t threads;
  int64_t argument_count;
  const uint64_t* values;
  const int64_t* bytes;  // of the memory behind an address; -1: a number
  void* const* shadows;  // per argument: the log of its first byte
  char* message;         // of message_size bytes: what went wrong
  int64_t message_size;
  // Told of every access of a thread to memory, if given: the number of the argument, or minus the
  // line of the shared array; the line of the access.
  void (*touch)(void* environment, int64_t array, int line, bool writes, unsigned thread,
                uint64_t place, int bytes);
  void* environment;
  void (*end_block)(void* environment);
};

// Who touched an element last, or several threads since the last barrier.
struct Access {
  uint32_t launch = 0;  // 0: nobody
  uint32_t block = 0;
  uint32_t barrier = 0;
  uint32_t warp_barrier = 0;
  uint16_t thread = 0;
  bool many = false;        // more than this thread
  bool many_warps = false;  // of more than this warp
  bool atomic = false;
};
struct Log {
  Access write, read;
};

enum class State : uint8_t { ready, at_barrier, at_warp, done };
enum class WarpOp : uint8_t { barrier, index, up, down, exclusive_or, ballot, together };

// What a thread has copied to shared memory and not waited for.
struct Underway {
  unsigned char values[16];
  void (*arrive)(const Underway&);
  void* array;
  long long i;
  int count;
  int line;
  uint32_t group;
};

struct Thread {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  State state = State::ready;
  int line = 0;  // where it waits
  WarpOp op = WarpOp::barrier;
  uint32_t mask = 0;
  int operand = 0;
  int width = 32;
  uint64_t value = 0;  // given to the warp, then got from it
  Index index;
  Underway* copies = nullptr;  // in the order of their groups
  int copy_count = 0, copy_room = 0;
  uint32_t group = 0;  // of copies: the next one
};

constexpr int most_threads = 1024;
constexpr size_t stack_bytes = 64 * 1024;

struct Machine {
  Thread threads[most_threads];
  uint32_t warp_barriers[most_threads / 32] = {};
  Thread* current = nullptr;
  void* scheduler = nullptr;
  char* free_stacks[most_threads] = {};
  int free_count = 0;
  Index block, block_count, block_size;
  uint32_t launch = 0;   // the launch's number
  uint32_t serial = 0;   // counts blocks of all launches
  uint32_t barrier = 1;  // counts barriers of the block
  void (*body)(void*) = nullptr;
  void* environment = nullptr;
  const Launch* request = nullptr;
  bool failed = false;
};
static Machine machine;

inline unsigned thread_number() { return machine.current->index.x; }

// Notes the first thing that goes wrong. The block is given up: no fiber runs on.
template <class... A>
inline void note_failure(const char* format, A... arguments) {
  if (machine.failed) return;
  machine.failed = true;
  snprintf(machine.request->message, static_cast<size_t>(machine.request->message_size), format,
           arguments...);
}

// The same, from inside a thread.
template <class... A>
[[noreturn]] inline void fail(const char* format, A... arguments) {
  note_failure(format, arguments...);
  for (;;) kroton_emulator_switch(&machine.current->stack_pointer, machine.scheduler);
}

inline void wait(State state, int line) {
  Thread& self = *machine.current;
  self.state = state;
  self.line = line;
  kroton_emulator_switch(&self.stack_pointer, machine.scheduler);
}

// ---- What threads do to an element, and whether that may be.

// The access happened before what the current thread does now, whatever the order of threads.
inline bool is_before(const Access& access) {
  if (access.block != machine.block.x) return false;
  if (access.barrier != machine.barrier) return true;
  const unsigned warp = thread_number() / 32;
  return !access.many_warps && access.thread / 32 == warp &&
         access.warp_barrier != machine.warp_barriers[warp];
}

inline bool conflicts(const Access& access, bool atomic) {
  if (access.launch != machine.launch) return false;
  if (access.block == machine.block.x && !access.many && access.thread == thread_number()) {
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
  access.atomic = atomic;
  access.launch = machine.launch;
  access.block = machine.block.x;
  access.barrier = machine.barrier;
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
  if (reinterpret_cast<uint64_t>(first.place) % (N * sizeof(T)) != 0) {
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
    T* atomically() const { return element().atomically(); }
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

// ---- Barriers and warps.

inline void block_barrier(int line) { wait(State::at_barrier, line); }

inline uint64_t warp_operation(int line, WarpOp op, uint32_t mask, uint64_t value, int operand,
                               int width) {
  Thread& self = *machine.current;
  self.op = op;
  self.mask = mask;
  self.value = value;
  self.operand = operand;
  self.width = width;
  if (!(mask >> (self.index.x % 32) & 1u)) {
    fail("thread %u of block %u: line %d: a warp operation whose mask %08x leaves the thread out",
         self.index.x, machine.block.x, line, mask);
  }
  wait(State::at_warp, line);
  return self.value;
}

inline void warp_barrier(int line, uint32_t mask = 0xffffffffu) {
  warp_operation(line, WarpOp::barrier, mask, 0, 0, 32);
}

template <class T>
inline T shuffle(int line, WarpOp op, uint32_t mask, T value, int operand, int width = 32) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = warp_operation(line, op, mask, bits, operand, width);
  memcpy(&value, &bits, sizeof value);
  return value;
}

template <class T>
inline typename Plain<T>::Type shuffle(int line, WarpOp op, uint32_t mask, const Element<T>& value,
                                       int operand, int width = 32) {
  return shuffle(line, op, mask, static_cast<typename Plain<T>::Type>(value), operand, width);
}

inline unsigned ballot(int line, uint32_t mask, bool value) {
  return static_cast<unsigned>(warp_operation(line, WarpOp::ballot, mask, value, 0, 32));
}

struct Together {
  void (*act)(void* const* lanes);
  void* place;
};

// All lanes give a place of their own, and one does what the warp does together.
inline void together(int line, void (*act)(void* const* lanes), void* place) {
  Together given{act, place};
  warp_operation(line, WarpOp::together, 0xffffffffu, reinterpret_cast<uint64_t>(&given), 0, 32);
}

// ---- Copies to shared memory that nobody waits for.

// Comes when the thread waits for the group. Until then nobody may touch the elements.
template <int count, class T, int N, class U>
inline void copy_later(Shared<T, N>& to, At i, const Global<U>& from, At j, long long available) {
  Thread& self = *machine.current;
  const int bytes = count * static_cast<int>(sizeof(T));
  const int there = available >= count ? count : available <= 0 ? 0 : static_cast<int>(available);
  if (i.i % count != 0 ||
      (there > 0 && reinterpret_cast<uint64_t>(from.data + j.i) % static_cast<uint64_t>(bytes))) {
    fail(
        "thread %u of block %u: a copy of %d bytes to element %lld of the shared array of line %d "
        "is not aligned",
        thread_number(), machine.block.x, bytes, i.i, to.line);
  }
  if (self.copy_count == self.copy_room) {
    self.copy_room = 2 * self.copy_room + 16;
    self.copies = static_cast<Underway*>(
        realloc(self.copies, static_cast<size_t>(self.copy_room) * sizeof(Underway)));
  }
  Underway& copy = self.copies[self.copy_count++];
  copy.array = &to;
  copy.i = i.i;
  copy.count = count;
  copy.line = i.line;
  copy.group = self.group;
  copy.arrive = [](const Underway& one) {
    Shared<T, N>& array = *static_cast<Shared<T, N>*>(one.array);
    for (int k = 0; k < one.count; ++k) {
      T value;
      memcpy(&value, one.values + k * sizeof(T), sizeof(T));
      array.arriving[one.i + k] = 0;
      array.written[one.i + k] = machine.serial;
      const Element<T> element = array[At(one.i + k, one.line)].element();
      note_write(*element.log, element.what, element.number, element.index);
      *element.place = value;
    }
  };
  const Launch& request = *machine.request;
  for (int k = 0; k < count; ++k) {
    T value = 0;
    if (k < there) {
      const Element<U> one = from[At(j.i + k, j.line)];
      note_read(*one.log, one.what, one.number, one.index);
      value = *one.place;
      if (request.touch && k == 0) {
        request.touch(request.environment, from.number, j.line, false, thread_number(),
                      reinterpret_cast<uint64_t>(one.place), there * static_cast<int>(sizeof(T)));
      }
    }
    memcpy(copy.values + k * sizeof(T), &value, sizeof(T));
    const Element<T> place = to[At(i.i + k, i.line)].element();
    note_write(*place.log, place.what, place.number, place.index);
    to.arriving[i.i + k] = machine.serial;
    if (request.touch && k == 0) {
      request.touch(request.environment, -place.number, i.line, true, thread_number(),
                    static_cast<uint64_t>(i.i) * sizeof(T), bytes);
    }
  }
}

inline void end_copies() { ++machine.current->group; }

inline void wait_for_copies(uint32_t groups) {
  Thread& self = *machine.current;
  int left = 0;
  for (int k = 0; k < self.copy_count; ++k) {
    if (self.copies[k].group + groups < self.group) {
      self.copies[k].arrive(self.copies[k]);
    } else {
      self.copies[left++] = self.copies[k];
    }
  }
  self.copy_count = left;
}

// ---- Matrix units: what lanes of a warp have of tiles, as PTX says (ldmatrix and mma).

struct Squares {
  unsigned char line[16];  // of a square: that of lane l is line l % 8 of square l / 8
  unsigned* to;
};

inline void squares_along(void* const* lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int n = 0; n < 4; ++n) {
      const Squares& from = *static_cast<Squares*>(lanes[n * 8 + lane / 4]);
      memcpy(static_cast<Squares*>(lanes[lane])->to + n, from.line + lane % 4 * 4, 4);
    }
  }
}

inline void squares_across(void* const* lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int n = 0; n < 4; ++n) {
      char* to = reinterpret_cast<char*>(static_cast<Squares*>(lanes[lane])->to + n);
      for (int next = 0; next < 2; ++next) {
        const Squares& from = *static_cast<Squares*>(lanes[n * 8 + lane % 4 * 2 + next]);
        memcpy(to + next * 2, from.line + lane / 4 * 2, 2);
      }
    }
  }
}

template <class T, int N>
inline void load_squares(int line, void (*act)(void* const*), unsigned (&to)[4], Shared<T, N>& from,
                         At at) {
  constexpr int count = 16 / static_cast<int>(sizeof(T));
  if (at.i % count != 0) {
    fail(
        "thread %u of block %u: 16 bytes from element %lld of the shared array of line %d are not "
        "aligned",
        thread_number(), machine.block.x, at.i, from.line);
  }
  Squares squares;
  squares.to = to;
  const Launch& request = *machine.request;
  for (int k = 0; k < count; ++k) {
    const Element<T> one = from[At(at.i + k, line)].readable();
    note_read(*one.log, one.what, one.number, one.index);
    memcpy(squares.line + k * sizeof(T), one.place, sizeof(T));
    if (request.touch && k == 0) {
      request.touch(request.environment, -one.number, line, false, thread_number(),
                    static_cast<uint64_t>(at.i) * sizeof(T), 16);
    }
  }
  together(line, act, &squares);
}

// Numbers of an operand's 4 bytes.
struct Numbers_bf16 {
  static constexpr int count = 2;
  static float value(unsigned bits, int k) {
    const unsigned word = (k == 0 ? bits << 16 : bits) & 0xffff0000u;
    float f;
    memcpy(&f, &word, 4);
    return f;
  }
};
struct Numbers_f16 {
  static constexpr int count = 2;
  static float value(unsigned bits, int k) {
    const unsigned half = (k == 0 ? bits : bits >> 16) & 0xffffu;
    const unsigned exponent = half >> 10 & 31u, fraction = half & 0x3ffu;
    float f;
    if (exponent == 31) {
      const unsigned word = 0x7f800000u | fraction << 13;
      memcpy(&f, &word, 4);
    } else {
      f = static_cast<float>(exponent == 0 ? fraction : fraction | 0x400u) * 5.9604644775390625e-8f;
      for (unsigned k2 = 1; k2 < exponent; ++k2) f *= 2;
    }
    return half & 0x8000u ? -f : f;
  }
};
struct Numbers_tf32 {
  static constexpr int count = 1;
  static float value(unsigned bits, int) {
    bits &= 0xffffe000u;  // the others are not looked at
    float f;
    memcpy(&f, &bits, 4);
    return f;
  }
};

struct Multiplied {
  float* d;
  const unsigned *a, *b;
};

// d += a * b: 16 x 8 results, over 8 * count elements of a row of a and a column of b.
template <class Numbers>
inline void multiply(void* const* lanes) {
  constexpr int depth = 8 * Numbers::count;
  float a[16][depth], b[depth][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Multiplied& own = *static_cast<Multiplied*>(lanes[lane]);
    for (int n = 0; n < 4; ++n) {
      for (int k = 0; k < Numbers::count; ++k) {
        const int inner = n / 2 * (depth / 2) + lane % 4 * Numbers::count + k;
        a[lane / 4 + n % 2 * 8][inner] = Numbers::value(own.a[n], k);
        if (n % 2 == 0) b[inner][lane / 4] = Numbers::value(own.b[n / 2], k);
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<Multiplied*>(lanes[lane])->d;
    for (int n = 0; n < 4; ++n) {
      const int row = lane / 4 + n / 2 * 8, column = lane % 4 * 2 + n % 2;
      for (int k = 0; k < depth; ++k) d[n] += a[row][k] * b[k][column];
    }
  }
}

template <class Numbers>
inline void units(int line, float* d, const unsigned* a, const unsigned* b) {
  Multiplied own{d, a, b};
  together(line, multiply<Numbers>, &own);
}

// Lets a warp go on whose masked threads all wait at one operation. False if it may not.
inline bool release_warp(int warp, int threads) {
  Thread* lanes = machine.threads + warp * 32;
  const int count = threads - warp * 32 < 32 ? threads - warp * 32 : 32;
  bool released = false;
  for (int first = 0; first < count; ++first) {
    const Thread& leader = lanes[first];
    if (leader.state != State::at_warp) continue;
    bool complete = true;
    for (int lane = 0; lane < 32 && complete; ++lane) {
      if (!(leader.mask >> lane & 1u)) continue;
      complete = lane < count && lanes[lane].state == State::at_warp &&
                 lanes[lane].line == leader.line && lanes[lane].op == leader.op &&
                 lanes[lane].mask == leader.mask;
    }
    if (!complete) continue;
    const uint32_t mask = leader.mask;
    if (leader.op == WarpOp::together) {
      void* places[32];
      for (int lane = 0; lane < 32; ++lane) {
        places[lane] = reinterpret_cast<Together*>(lanes[lane].value)->place;
      }
      reinterpret_cast<Together*>(leader.value)->act(places);
    }
    uint64_t given[32] = {}, got[32] = {};
    uint64_t votes = 0;
    for (int lane = 0; lane < count; ++lane) {
      given[lane] = lanes[lane].value;
      if ((mask >> lane & 1u) && lanes[lane].value) votes |= uint64_t(1) << lane;
    }
    for (int lane = 0; lane < count; ++lane) {
      if (!(mask >> lane & 1u)) continue;
      const Thread& self = lanes[lane];
      const int group = lane / self.width * self.width;
      int from = lane;
      switch (self.op) {
        case WarpOp::barrier:
        case WarpOp::ballot:
        case WarpOp::together:
          break;
        case WarpOp::index:
          from = group + (self.operand & (self.width - 1));
          break;
        case WarpOp::up:
          from = lane - self.operand >= group ? lane - self.operand : lane;
          break;
        case WarpOp::down:
          from = lane + self.operand < group + self.width ? lane + self.operand : lane;
          break;
        case WarpOp::exclusive_or:
          from = (lane ^ self.operand) < group + self.width ? lane ^ self.operand : lane;
          break;
      }
      if (!(mask >> from & 1u)) {
        note_failure("line %d: lane %d takes the value of lane %d, which is not in the mask %08x",
                     self.line, lane, from, mask);
        return false;
      }
      got[lane] = self.op == WarpOp::ballot ? votes : given[from];
    }
    if (leader.op == WarpOp::barrier && mask == 0xffffffffu) ++machine.warp_barriers[warp];
    for (int lane = 0; lane < count; ++lane) {
      if (!(mask >> lane & 1u)) continue;
      lanes[lane].value = got[lane];
      lanes[lane].state = State::ready;
    }
    released = true;
  }
  return released;
}

inline const char* name_of(State state) {
  return state == State::at_barrier ? "waits at __syncthreads"
         : state == State::at_warp  ? "waits at a warp operation"
                                    : "has returned";
}

// Lets the block go on when all its threads wait at one barrier.
inline bool release_block(int threads) {
  const Thread& first = machine.threads[0];
  for (int t = 0; t < threads; ++t) {
    const Thread& other = machine.threads[t];
    if (first.state == State::at_barrier && other.state == first.state &&
        other.line == first.line) {
      continue;
    }
    // Two that differ, or thread 0 alone at a warp operation that cannot be completed.
    note_failure("divergent barrier in block %u: thread 0 %s (line %d), thread %d %s (line %d)",
                 machine.block.x, name_of(first.state), first.line, t, name_of(other.state),
                 other.line);
    return false;
  }
  ++machine.barrier;
  for (int t = 0; t < threads; ++t) machine.threads[t].state = State::ready;
  return true;
}

inline void fiber_main() {
  machine.body(machine.environment);
  machine.current->state = State::done;
  for (;;) kroton_emulator_switch(&machine.current->stack_pointer, machine.scheduler);
}

inline void start(Thread& thread) {
  if (machine.free_count > 0) {
    thread.stack = machine.free_stacks[--machine.free_count];
  } else {
    thread.stack = static_cast<char*>(aligned_alloc(64, stack_bytes));
  }
  char* top = thread.stack + stack_bytes;
#if defined(__x86_64__)
  // The return address of a call: the stack is off 16 bytes by 8 then.
  void** slot = reinterpret_cast<void**>(top - 16);
  slot[0] = reinterpret_cast<void*>(&fiber_main);
  slot[1] = nullptr;
  thread.stack_pointer = slot - 6;
  memset(thread.stack_pointer, 0, 6 * sizeof(void*));
#else
  void** slot = reinterpret_cast<void**>(top - 160);
  memset(slot, 0, 160);
  slot[11] = reinterpret_cast<void*>(&fiber_main);  // x30
  thread.stack_pointer = slot;
#endif
}

inline void run_block(int threads) {
  ++machine.serial;
  machine.barrier = 1;
  for (uint32_t& count : machine.warp_barriers) count = 1;
  for (int t = 0; t < threads; ++t) {
    Thread& thread = machine.threads[t];
    thread.stack = nullptr;
    thread.state = State::ready;
    thread.line = 0;
    thread.index.x = static_cast<unsigned>(t);
    thread.copy_count = 0;
    thread.group = 0;
  }
  for (;;) {
    int done = 0;
    for (int t = 0; t < threads; ++t) {
      Thread& thread = machine.threads[t];
      if (thread.state == State::ready) {
        if (!thread.stack) start(thread);
        machine.current = &thread;
        kroton_emulator_switch(&machine.scheduler, thread.stack_pointer);
        if (machine.failed) return;
        if (thread.state == State::done) machine.free_stacks[machine.free_count++] = thread.stack;
      }
      done += thread.state == State::done;
    }
    if (done == threads) return;
    bool released = false;
    for (int warp = 0; warp * 32 < threads; ++warp) released |= release_warp(warp, threads);
    if (machine.failed) return;
    if (!released && !release_block(threads)) return;
  }
}

// ---- A kernel's arguments from the host's.

template <class T>
struct Argument {
  static constexpr int64_t size = -static_cast<int64_t>(sizeof(T));
  static T make(const Launch& launch, int k) { return static_cast<T>(launch.values[k]); }
};
template <class T>
struct Argument<T*> {
  static constexpr int64_t size = alignof(T);
  static T* make(const Launch& launch, int k) { return reinterpret_cast<T*>(launch.values[k]); }
};
template <class T>
struct Argument<Global<T>> {
  static constexpr int64_t size = alignof(T);
  static Global<T> make(const Launch& launch, int k) {
    return {reinterpret_cast<T*>(launch.values[k]),
            static_cast<long long>(launch.bytes[k] / static_cast<int64_t>(sizeof(T))),
            static_cast<Log*>(launch.shadows[k]), k};
  }
};

// How many parameters the kernel has; into `sizes`, if given: what each pointer
// is aligned to, or minus the size of a number.
template <class... A>
inline int64_t parameters(void (*)(A...), int64_t* sizes) {
  const int64_t all[] = {Argument<A>::size..., 0};
  for (size_t k = 0; sizes && k < sizeof...(A); ++k) sizes[k] = all[k];
  return sizeof...(A);
}

template <int... K>
struct Numbers {};
template <int N, int... K>
struct MakeNumbers : MakeNumbers<N - 1, N - 1, K...> {};
template <int... K>
struct MakeNumbers<0, K...> {
  using Type = Numbers<K...>;
};

template <class... A>
struct Call {
  void (*kernel)(A...);
  const Launch* launch;
  static void run(void* environment) {
    static_cast<Call*>(environment)->apply(typename MakeNumbers<sizeof...(A)>::Type());
  }
  template <int... K>
  void apply(Numbers<K...>) {
    kernel(Argument<A>::make(*launch, K)...);
  }
};

// 0, or 1 with a message.
template <class... A>
inline int run(void (*kernel)(A...), const Launch* launch) {
  machine.request = launch;
  machine.failed = false;
  if (launch->argument_count != static_cast<int64_t>(sizeof...(A))) {
    note_failure("the kernel takes %d arguments, the launch gives %d", int(sizeof...(A)),
                 int(launch->argument_count));
    return 1;
  }
  Call<A...> call{kernel, launch};
  machine.body = &Call<A...>::run;
  machine.environment = &call;
  machine.launch = static_cast<uint32_t>(launch->number);
  machine.block_count.x = static_cast<unsigned>(launch->blocks);
  machine.block_size.x = static_cast<unsigned>(launch->threads);
  for (int64_t block = 0; block < launch->blocks && !machine.failed; ++block) {
    machine.block.x = static_cast<unsigned>(block);
    run_block(static_cast<int>(launch->threads));
    if (launch->end_block) launch->end_block(launch->environment);
  }
  if (!machine.failed) return 0;
  for (int t = 0; t < launch->threads; ++t) {
    const Thread& thread = machine.threads[t];
    if (thread.stack && thread.state != State::done) {
      machine.free_stacks[machine.free_count++] = thread.stack;
    }
  }
  return 1;
}

// ---- Atomic operations: threads do not run at the same time.

template <class T>
inline T exchange(T* place, T value) {
  const T old = *place;
  *place = value;
  return old;
}

}  // namespace emulator

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define threadIdx (emulator::machine.current->index)
#define blockIdx (emulator::machine.block)
#define blockDim (emulator::machine.block_size)
#define gridDim (emulator::machine.block_count)
#define KROTON_SHARED(type, name, count) static emulator::Shared<type, (count)> name(__LINE__)
#define KROTON_GLOBAL(type) emulator::Global<type>
#define KROTON_LOAD(to, from, at) emulator::load_together(to, from, at)
#define KROTON_STORE(to, at, from) emulator::store_together(to, at, from)
#define KROTON_ADDRESS(x, at) (reinterpret_cast<uint64_t>((x).data + (at)))
#define KROTON_COPY(count, to, i, from, j, available) \
  emulator::copy_later<(count)>(to, i, from, j, available)
#define KROTON_COPIES_END() emulator::end_copies()
#define KROTON_WAIT_COPIES(n) emulator::wait_for_copies(n)
#define KROTON_SQUARES(to, x, at) \
  emulator::load_squares(__LINE__, emulator::squares_along, to, x, at)
#define KROTON_SQUARES_ACROSS(to, x, at) \
  emulator::load_squares(__LINE__, emulator::squares_across, to, x, at)
#define KROTON_UNITS(name, step, d, a, b) \
  emulator::units<emulator::Numbers_##name>(__LINE__, d, a, b)
#define KROTON_ATOMIC_ADD(x, i, v) atomicAdd((x)[i].atomically(), v)
#define __syncthreads() emulator::block_barrier(__LINE__)
#define __syncwarp(...) emulator::warp_barrier(__LINE__, ##__VA_ARGS__)
#define __shfl_sync(mask, ...) \
  emulator::shuffle(__LINE__, emulator::WarpOp::index, mask, __VA_ARGS__)
#define __shfl_up_sync(mask, ...) \
  emulator::shuffle(__LINE__, emulator::WarpOp::up, mask, __VA_ARGS__)
#define __shfl_down_sync(mask, ...) \
  emulator::shuffle(__LINE__, emulator::WarpOp::down, mask, __VA_ARGS__)
#define __shfl_xor_sync(mask, ...) \
  emulator::shuffle(__LINE__, emulator::WarpOp::exclusive_or, mask, __VA_ARGS__)
#define __ballot_sync(mask, value) emulator::ballot(__LINE__, mask, value)
#define __any_sync(mask, value) (emulator::ballot(__LINE__, mask, value) != 0u)
#define __all_sync(mask, value) (emulator::ballot(__LINE__, mask, value) == (mask))
#define __threadfence()

inline int __float_as_int(float x) {
  int r;
  memcpy(&r, &x, 4);
  return r;
}
inline float __int_as_float(int x) {
  float r;
  memcpy(&r, &x, 4);
  return r;
}
inline unsigned __float_as_uint(float x) {
  unsigned r;
  memcpy(&r, &x, 4);
  return r;
}
inline float __uint_as_float(unsigned x) {
  float r;
  memcpy(&r, &x, 4);
  return r;
}
inline long long __double_as_longlong(double x) {
  long long r;
  memcpy(&r, &x, 8);
  return r;
}
inline double __longlong_as_double(long long x) {
  double r;
  memcpy(&r, &x, 8);
  return r;
}
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline double __dsqrt_rn(double x) { return sqrt(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a < b ? b : a; }

inline int atomicCAS(int* place, int expected, int value) {
  return *place == expected ? emulator::exchange(place, value) : *place;
}
inline unsigned atomicCAS(unsigned* place, unsigned expected, unsigned value) {
  return *place == expected ? emulator::exchange(place, value) : *place;
}
inline unsigned long long atomicCAS(unsigned long long* place, unsigned long long expected,
                                    unsigned long long value) {
  return *place == expected ? emulator::exchange(place, value) : *place;
}
inline int atomicExch(int* place, int value) { return emulator::exchange(place, value); }
inline float atomicAdd(float* x, float v) { return emulator::exchange(x, *x + v); }
inline double atomicAdd(double* x, double v) { return emulator::exchange(x, *x + v); }
inline int atomicAdd(int* x, int v) { return emulator::exchange(x, *x + v); }
inline unsigned atomicAdd(unsigned* x, unsigned v) { return emulator::exchange(x, *x + v); }
inline unsigned long long atomicAdd(unsigned long long* x, unsigned long long v) {
  return emulator::exchange(x, *x + v);
}
inline int atomicMin(int* x, int v) { return emulator::exchange(x, min(*x, v)); }
inline int atomicMax(int* x, int v) { return emulator::exchange(x, max(*x, v)); }
