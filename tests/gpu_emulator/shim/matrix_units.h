// Matrix units: what lanes of a warp have of tiles, as PTX says (ldmatrix and mma).
#pragma once
#include "warps.h"

namespace emulator {

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

}  // namespace emulator
