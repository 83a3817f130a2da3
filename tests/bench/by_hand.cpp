#include "by_hand.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "bench.h"

namespace bench::by_hand {
namespace {

double log_sum_exp(std::span<const double> x) {
  const double most = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const double v : x) sum += std::exp(v - most);
  return most + std::log(sum);
}

double log_gamma_of(double a, std::size_t d) {
  double result = 0.25 * static_cast<double>(d * (d - 1)) * std::log(std::numbers::pi);
  for (std::size_t j = 1; j <= d; ++j) {
    result += std::lgamma(a + 0.5 * (1 - static_cast<double>(j)));
  }
  return result;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

// ---- mixture

double Mixture::value() const {
  const std::size_t size = d * (d + 1) / 2;
  Numbers diagonal(k * d), logs(k), terms(k), moved(d);
  for (std::size_t c = 0; c < k; ++c) {
    const double* q = &factors[c * size];
    for (std::size_t i = 0; i < d; ++i) {
      diagonal[c * d + i] = std::exp(q[i]);
      logs[c] += q[i];
    }
  }
  double total = 0;
  for (std::size_t p = 0; p < n; ++p) {
    for (std::size_t c = 0; c < k; ++c) {
      for (std::size_t i = 0; i < d; ++i) moved[i] = points[p * d + i] - means[c * d + i];
      const double* lower = &factors[c * size + d];
      double square = 0;
      for (std::size_t i = 0; i < d; ++i) {
        double y = diagonal[c * d + i] * moved[i];
        for (std::size_t j = 0; j < i; ++j) y += *lower++ * moved[j];
        square += y * y;
      }
      terms[c] = alphas[c] + logs[c] - 0.5 * square;
    }
    total += log_sum_exp(terms);
  }
  const double number = static_cast<double>(n), dimensions = static_cast<double>(d);
  total -= number * (log_sum_exp(alphas) + 0.5 * dimensions * std::log(2 * std::numbers::pi));
  for (std::size_t c = 0; c < k; ++c) {
    double square = 0;
    for (std::size_t i = 0; i < d; ++i) square += diagonal[c * d + i] * diagonal[c * d + i];
    for (std::size_t i = d; i < size; ++i) square += factors[c * size + i] * factors[c * size + i];
    total += 0.5 * gamma * gamma * square - m * logs[c];
  }
  const double degrees = dimensions + m + 1;
  const double constant = degrees * dimensions * (std::log(gamma) - 0.5 * std::log(2.0)) -
                          log_gamma_of(0.5 * degrees, d);
  return total - static_cast<double>(k) * constant;
}

double Mixture::gradient(Numbers& result) const {
  const std::size_t size = d * (d + 1) / 2;
  result.assign(k + k * d + k * size, 0);
  double* by_alpha = result.data();
  double* by_mean = by_alpha + k;
  double* by_factor = by_mean + k * d;
  Numbers diagonal(k * d), logs(k), terms(k), moved(k * d), turned(k * d), back(d);
  for (std::size_t c = 0; c < k; ++c) {
    for (std::size_t i = 0; i < d; ++i) {
      diagonal[c * d + i] = std::exp(factors[c * size + i]);
      logs[c] += factors[c * size + i];
    }
  }
  double total = 0;
  for (std::size_t p = 0; p < n; ++p) {
    for (std::size_t c = 0; c < k; ++c) {
      double* x = &moved[c * d];
      double* y = &turned[c * d];
      for (std::size_t i = 0; i < d; ++i) x[i] = points[p * d + i] - means[c * d + i];
      const double* lower = &factors[c * size + d];
      double square = 0;
      for (std::size_t i = 0; i < d; ++i) {
        double sum = diagonal[c * d + i] * x[i];
        for (std::size_t j = 0; j < i; ++j) sum += *lower++ * x[j];
        y[i] = sum;
        square += sum * sum;
      }
      terms[c] = alphas[c] + logs[c] - 0.5 * square;
    }
    const double whole = log_sum_exp(terms);
    total += whole;
    for (std::size_t c = 0; c < k; ++c) {
      const double part = std::exp(terms[c] - whole);
      const double* x = &moved[c * d];
      const double* y = &turned[c * d];
      double* factor = by_factor + c * size;
      by_alpha[c] += part;
      for (std::size_t i = 0; i < d; ++i) {
        back[i] = diagonal[c * d + i] * y[i];
        factor[i] += part * (1 - y[i] * diagonal[c * d + i] * x[i]);
      }
      const double* lower = &factors[c * size + d];
      double* by_lower = factor + d;
      for (std::size_t i = 0; i < d; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
          back[j] += *lower++ * y[i];
          *by_lower++ -= part * y[i] * x[j];
        }
      }
      for (std::size_t i = 0; i < d; ++i) by_mean[c * d + i] += part * back[i];
    }
  }
  const double number = static_cast<double>(n), dimensions = static_cast<double>(d);
  const double weights = log_sum_exp(alphas);
  total -= number * (weights + 0.5 * dimensions * std::log(2 * std::numbers::pi));
  for (std::size_t c = 0; c < k; ++c) {
    by_alpha[c] -= number * std::exp(alphas[c] - weights);
    double square = 0;
    for (std::size_t i = 0; i < d; ++i) {
      const double own = diagonal[c * d + i] * diagonal[c * d + i];
      square += own;
      by_factor[c * size + i] += gamma * gamma * own - m;
    }
    for (std::size_t i = d; i < size; ++i) {
      const double own = factors[c * size + i];
      square += own * own;
      by_factor[c * size + i] += gamma * gamma * own;
    }
    total += 0.5 * gamma * gamma * square - m * logs[c];
  }
  const double degrees = dimensions + m + 1;
  const double constant = degrees * dimensions * (std::log(gamma) - 0.5 * std::log(2.0)) -
                          log_gamma_of(0.5 * degrees, d);
  return total - static_cast<double>(k) * constant;
}

// ---- bundle

namespace {

using Vector = std::array<double, 3>;

Vector cross(const Vector& a, const Vector& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
double dot(const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// x turned about w by its length, after Rodrigues; where asked, by w and by x.
Vector turned(const Vector& w, const Vector& x, double by_w[3][3] = nullptr,
              double by_x[3][3] = nullptr) {
  const double square = dot(w, w);
  if (square == 0) {
    const Vector across = cross(w, x);
    for (int j = 0; j < 3 && by_w != nullptr; ++j) {
      Vector unit{};
      unit[static_cast<std::size_t>(j)] = 1;
      const Vector of_w = cross(unit, x), of_x = cross(w, unit);
      for (std::size_t i = 0; i < 3; ++i) {
        by_w[i][j] = of_w[i];
        by_x[i][j] = unit[i] + of_x[i];
      }
    }
    return {x[0] + across[0], x[1] + across[1], x[2] + across[2]};
  }
  const double angle = std::sqrt(square), c = std::cos(angle), s = std::sin(angle);
  const Vector axis{w[0] / angle, w[1] / angle, w[2] / angle};
  const Vector across = cross(axis, x);
  const double along = dot(axis, x), rest = 1 - c;
  Vector result;
  for (std::size_t i = 0; i < 3; ++i) {
    result[i] = x[i] * c + across[i] * s + axis[i] * along * rest;
  }
  if (by_w == nullptr) return result;
  for (std::size_t j = 0; j < 3; ++j) {
    Vector unit{};
    unit[j] = 1;
    // The angle moves by axis[j], the axis across itself.
    Vector moved;
    for (std::size_t i = 0; i < 3; ++i) moved[i] = (unit[i] - axis[i] * axis[j]) / angle;
    const Vector of_axis = cross(moved, x), of_x = cross(axis, unit);
    const double along_moved = dot(moved, x);
    for (std::size_t i = 0; i < 3; ++i) {
      by_w[i][j] = axis[j] * (-x[i] * s + across[i] * c + axis[i] * along * s) + of_axis[i] * s +
                   (moved[i] * along + axis[i] * along_moved) * rest;
      by_x[i][j] = unit[i] * c + of_x[i] * s + axis[i] * axis[j] * rest;
    }
  }
  return result;
}

}  // namespace

void Bundle::values(Numbers& result) const {
  result.resize(3 * seen);
  for (std::size_t p = 0; p < seen; ++p) {
    const double* of = &camera[static_cast<std::size_t>(camera_of[p]) * camera_size];
    const double* at = &point[static_cast<std::size_t>(point_of[p]) * 3];
    const Vector x = turned({of[0], of[1], of[2]}, {at[0] - of[3], at[1] - of[4], at[2] - of[5]});
    const double u = x[0] / x[2], v = x[1] / x[2], square = u * u + v * v;
    const double scale = of[6] * (1 + of[9] * square + of[10] * square * square);
    result[2 * p] = weight[p] * (u * scale + of[7] - features[2 * p]);
    result[2 * p + 1] = weight[p] * (v * scale + of[8] - features[2 * p + 1]);
    result[2 * seen + p] = 1 - weight[p] * weight[p];
  }
}

void Bundle::jacobian(Numbers& result) const {
  result.resize(2 * seen * row + seen);
  for (std::size_t p = 0; p < seen; ++p) {
    const double* of = &camera[static_cast<std::size_t>(camera_of[p]) * camera_size];
    const double* at = &point[static_cast<std::size_t>(point_of[p]) * 3];
    double by_w[3][3], by_x[3][3];
    const Vector x =
        turned({of[0], of[1], of[2]}, {at[0] - of[3], at[1] - of[4], at[2] - of[5]}, by_w, by_x);
    const double u = x[0] / x[2], v = x[1] / x[2], square = u * u + v * v;
    const double radial = 1 + of[9] * square + of[10] * square * square;
    const double by_square = of[9] + 2 * of[10] * square;
    const double w = weight[p], focal = of[6];
    // By u and v of both.
    const double place[2] = {u, v};
    for (std::size_t e = 0; e < 2; ++e) {
      double* out = &result[(2 * p + e) * row];
      const double by_u = focal * ((e == 0 ? radial : 0) + place[e] * by_square * 2 * u);
      const double by_v = focal * ((e == 1 ? radial : 0) + place[e] * by_square * 2 * v);
      const Vector by{by_u / x[2], by_v / x[2], -(by_u * u + by_v * v) / x[2]};
      for (std::size_t j = 0; j < 3; ++j) {
        out[j] = w * (by[0] * by_w[0][j] + by[1] * by_w[1][j] + by[2] * by_w[2][j]);
        const double moved = w * (by[0] * by_x[0][j] + by[1] * by_x[1][j] + by[2] * by_x[2][j]);
        out[3 + j] = -moved;
        out[11 + j] = moved;
      }
      out[6] = w * place[e] * radial;
      out[7] = e == 0 ? w : 0;
      out[8] = e == 1 ? w : 0;
      out[9] = w * focal * place[e] * square;
      out[10] = w * focal * place[e] * square * square;
      out[14] = place[e] * radial * focal + of[7 + e] - features[2 * p + e];
    }
    result[2 * seen * row + p] = -2 * w;
  }
}

// ---- hand

namespace {

struct Motion {
  double turn[3][3];
  Vector move;
};

Motion after(const Motion& a, const Motion& b) {
  Motion result;
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      result.turn[i][j] =
          a.turn[i][0] * b.turn[0][j] + a.turn[i][1] * b.turn[1][j] + a.turn[i][2] * b.turn[2][j];
    }
    result.move[i] =
        a.turn[i][0] * b.move[0] + a.turn[i][1] * b.move[1] + a.turn[i][2] * b.move[2] + a.move[i];
  }
  return result;
}

// Sideways about z, then by an angle about x; or the derivative by one of them.
Motion joint(double side, double angle, const double* begins, int by = 0) {
  const double cz = std::cos(side), sz = std::sin(side), cx = std::cos(angle), sx = std::sin(angle);
  if (by == 0) {
    return {{{cz, -sz * cx, sz * sx}, {sz, cz * cx, -cz * sx}, {0, sx, cx}},
            {begins[0], begins[1], begins[2]}};
  }
  if (by == 1) return {{{-sz, -cz * cx, cz * sx}, {cz, -sz * cx, sz * sx}, {0, 0, 0}}, {0, 0, 0}};
  return {{{0, sz * sx, sz * cx}, {0, -cz * sx, -cz * cx}, {0, cx, -sx}}, {0, 0, 0}};
}

Motion of_hand(const Numbers& theta, const Numbers& rest, double by[3][3][3] = nullptr) {
  Motion result;
  for (std::size_t j = 0; j < 3; ++j) {
    Vector unit{};
    unit[j] = 1;
    double by_w[3][3], by_x[3][3];
    const Vector column = turned({theta[0], theta[1], theta[2]}, unit, by_w, by_x);
    for (std::size_t i = 0; i < 3; ++i) {
      result.turn[i][j] = column[i];
      for (std::size_t k = 0; k < 3 && by != nullptr; ++k) by[k][i][j] = by_w[i][k];
    }
    result.move[j] = theta[3 + j] + rest[j];
  }
  return result;
}

}  // namespace

void Hand::values(Numbers& result) const {
  std::array<Motion, bones> moves, home;
  moves[0] = of_hand(theta, rest);
  home[0] = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, {rest[0], rest[1], rest[2]}};
  for (std::size_t finger = 0; finger < 5; ++finger) {
    const double* angles = &theta[6 + 5 * finger];
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t bone = 1 + 4 * finger + k, before = k == 0 ? 0 : bone - 1;
      moves[bone] =
          after(moves[before], joint(k == 0 ? angles[0] : 0, angles[1 + k], &rest[3 * bone]));
      home[bone] = after(home[before], joint(0, 0, &rest[3 * bone]));
    }
  }
  result.resize(3 * points);
  for (std::size_t p = 0; p < points; ++p) {
    const double* at = &skin[3 * p];
    Vector sum{};
    for (std::size_t b = 0; b < bones; ++b) {
      const double part = share[p * bones + b];
      const Motion& m = moves[b];
      const double x = at[0] - home[b].move[0], y = at[1] - home[b].move[1],
                   z = at[2] - home[b].move[2];
      for (std::size_t i = 0; i < 3; ++i) {
        sum[i] += part * (m.turn[i][0] * x + m.turn[i][1] * y + m.turn[i][2] * z + m.move[i]);
      }
    }
    for (std::size_t i = 0; i < 3; ++i) result[3 * p + i] = sum[i] - measured[3 * p + i];
  }
}

void Hand::jacobian(Numbers& result) const {
  std::array<Motion, bones> moves, home;
  double by_turn[3][3][3];
  moves[0] = of_hand(theta, rest, by_turn);
  home[0] = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, {rest[0], rest[1], rest[2]}};
  for (std::size_t finger = 0; finger < 5; ++finger) {
    const double* angles = &theta[6 + 5 * finger];
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t bone = 1 + 4 * finger + k, before = k == 0 ? 0 : bone - 1;
      moves[bone] =
          after(moves[before], joint(k == 0 ? angles[0] : 0, angles[1 + k], &rest[3 * bone]));
      home[bone] = after(home[before], joint(0, 0, &rest[3 * bone]));
    }
  }
  result.assign(parameters * 3 * points, 0);
  // One parameter after the other: the motions of the bones that it moves, and the points on them.
  std::array<Motion, bones> by;
  for (std::size_t n = 0; n < parameters; ++n) {
    std::array<bool, bones> moved{};
    if (n < 6) {
      by[0] = Motion{};
      if (n < 3) {
        std::copy(&by_turn[n][0][0], &by_turn[n][0][0] + 9, &by[0].turn[0][0]);
      } else {
        by[0].move[n - 3] = 1;
      }
      moved[0] = true;
    }
    for (std::size_t finger = 0; finger < 5; ++finger) {
      const double* angles = &theta[6 + 5 * finger];
      const bool own = n >= 6 && (n - 6) / 5 == finger;
      const std::size_t which = n >= 6 ? (n - 6) % 5 : 5;
      for (std::size_t k = 0; k < 4; ++k) {
        const std::size_t bone = 1 + 4 * finger + k, before = k == 0 ? 0 : bone - 1;
        const double side = k == 0 ? angles[0] : 0;
        if (moved[before]) {
          by[bone] = after(by[before], joint(side, angles[1 + k], &rest[3 * bone]));
          moved[bone] = true;
        } else if (own && (which == 0 ? k == 0 : which - 1 == k)) {
          by[bone] = after(
              {{{moves[before].turn[0][0], moves[before].turn[0][1], moves[before].turn[0][2]},
                {moves[before].turn[1][0], moves[before].turn[1][1], moves[before].turn[1][2]},
                {moves[before].turn[2][0], moves[before].turn[2][1], moves[before].turn[2][2]}},
               {0, 0, 0}},
              joint(side, angles[1 + k], &rest[3 * bone], which == 0 ? 1 : 2));
          moved[bone] = true;
        }
      }
    }
    for (std::size_t p = 0; p < points; ++p) {
      const double* at = &skin[3 * p];
      Vector sum{};
      for (std::size_t b = 0; b < bones; ++b) {
        if (!moved[b]) continue;
        const double part = share[p * bones + b];
        const Motion& m = by[b];
        const double x = at[0] - home[b].move[0], y = at[1] - home[b].move[1],
                     z = at[2] - home[b].move[2];
        for (std::size_t i = 0; i < 3; ++i) {
          sum[i] += part * (m.turn[i][0] * x + m.turn[i][1] * y + m.turn[i][2] * z + m.move[i]);
        }
      }
      for (std::size_t i = 0; i < 3; ++i) result[(n * points + p) * 3 + i] = sum[i];
    }
  }
}

// ---- lstm

double Lstm::value() const {
  Numbers now = state, x(width);
  double total = 0;
  for (std::size_t t = 0; t + 1 < steps; ++t) {
    for (std::size_t b = 0; b < width; ++b) x[b] = sequence[t * width + b] * extra[b];
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const double* w = &main[layer * 8 * width];
      const double* bias = w + 4 * width;
      double* hidden = &now[layer * 2 * width];
      double* cell = hidden + width;
      for (std::size_t b = 0; b < width; ++b) {
        const double forget = sigmoid(x[b] * w[b] + bias[b]);
        const double in = sigmoid(hidden[b] * w[width + b] + bias[width + b]);
        const double out = sigmoid(x[b] * w[2 * width + b] + bias[2 * width + b]);
        const double change = std::tanh(hidden[b] * w[3 * width + b] + bias[3 * width + b]);
        cell[b] = cell[b] * forget + in * change;
        hidden[b] = out * std::tanh(cell[b]);
        x[b] = hidden[b];
      }
    }
    double sum = 2;
    for (std::size_t b = 0; b < width; ++b) {
      x[b] = x[b] * extra[width + b] + extra[2 * width + b];
      sum += std::exp(x[b]);
    }
    const double log = std::log(sum);
    for (std::size_t b = 0; b < width; ++b) {
      total += sequence[(t + 1) * width + b] * (x[b] - log);
    }
  }
  return -total / static_cast<double>((steps - 1) * width);
}

double Lstm::gradient(Numbers& result) const {
  result.assign(layers * 8 * width + 3 * width, 0);
  double* by_main = result.data();
  double* by_extra = by_main + layers * 8 * width;
  // By step and layer: forget, in, out, change, the cell and hidden values before, the tanh of the
  // cell; by step what comes in, and what goes out of the last layer.
  const std::size_t kept = 8;
  Numbers now = state, x(width), values(steps * layers * kept * width), ends(steps * width);
  double total = 0;
  for (std::size_t t = 0; t + 1 < steps; ++t) {
    for (std::size_t b = 0; b < width; ++b) x[b] = sequence[t * width + b] * extra[b];
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const double* w = &main[layer * 8 * width];
      const double* bias = w + 4 * width;
      double* hidden = &now[layer * 2 * width];
      double* cell = hidden + width;
      double* keep = &values[(t * layers + layer) * kept * width];
      for (std::size_t b = 0; b < width; ++b) {
        const double forget = sigmoid(x[b] * w[b] + bias[b]);
        const double in = sigmoid(hidden[b] * w[width + b] + bias[width + b]);
        const double out = sigmoid(x[b] * w[2 * width + b] + bias[2 * width + b]);
        const double change = std::tanh(hidden[b] * w[3 * width + b] + bias[3 * width + b]);
        keep[b] = forget;
        keep[width + b] = in;
        keep[2 * width + b] = out;
        keep[3 * width + b] = change;
        keep[4 * width + b] = cell[b];
        keep[5 * width + b] = hidden[b];
        keep[7 * width + b] = x[b];
        cell[b] = cell[b] * forget + in * change;
        const double bent = std::tanh(cell[b]);
        keep[6 * width + b] = bent;
        hidden[b] = out * bent;
        x[b] = hidden[b];
      }
    }
    double sum = 2;
    for (std::size_t b = 0; b < width; ++b) {
      const double y = x[b] * extra[width + b] + extra[2 * width + b];
      ends[t * width + b] = y;
      sum += std::exp(y);
    }
    const double log = std::log(sum);
    for (std::size_t b = 0; b < width; ++b) {
      total += sequence[(t + 1) * width + b] * (ends[t * width + b] - log);
    }
  }
  const double scale = -1 / static_cast<double>((steps - 1) * width);
  Numbers later(layers * 2 * width), g(width);
  for (std::size_t t = steps - 1; t-- > 0;) {
    double sum = 2, gold = 0;
    for (std::size_t b = 0; b < width; ++b) {
      sum += std::exp(ends[t * width + b]);
      gold += sequence[(t + 1) * width + b];
    }
    const double* last = &values[(t * layers + layers - 1) * kept * width];
    for (std::size_t b = 0; b < width; ++b) {
      const double y = ends[t * width + b];
      const double by_y = scale * (sequence[(t + 1) * width + b] - gold * std::exp(y) / sum);
      by_extra[width + b] += by_y * last[2 * width + b] * last[6 * width + b];
      by_extra[2 * width + b] += by_y;
      g[b] = by_y * extra[width + b];
    }
    for (std::size_t layer = layers; layer-- > 0;) {
      const double* w = &main[layer * 8 * width];
      const double* keep = &values[(t * layers + layer) * kept * width];
      double* by_w = by_main + layer * 8 * width;
      double* by_bias = by_w + 4 * width;
      double* by_hidden = &later[layer * 2 * width];
      double* by_cell = by_hidden + width;
      for (std::size_t b = 0; b < width; ++b) {
        const double forget = keep[b], in = keep[width + b], out = keep[2 * width + b],
                     change = keep[3 * width + b], cell = keep[4 * width + b],
                     hidden = keep[5 * width + b], bent = keep[6 * width + b],
                     input = keep[7 * width + b];
        const double arrived = g[b] + by_hidden[b];
        const double of_cell = by_cell[b] + arrived * out * (1 - bent * bent);
        const double by_out = arrived * bent * out * (1 - out);
        const double by_forget = of_cell * cell * forget * (1 - forget);
        const double by_in = of_cell * change * in * (1 - in);
        const double by_change = of_cell * in * (1 - change * change);
        by_cell[b] = of_cell * forget;
        by_hidden[b] = by_in * w[width + b] + by_change * w[3 * width + b];
        by_w[b] += by_forget * input;
        by_w[width + b] += by_in * hidden;
        by_w[2 * width + b] += by_out * input;
        by_w[3 * width + b] += by_change * hidden;
        by_bias[b] += by_forget;
        by_bias[width + b] += by_in;
        by_bias[2 * width + b] += by_out;
        by_bias[3 * width + b] += by_change;
        g[b] = by_forget * w[b] + by_out * w[2 * width + b];
      }
    }
    for (std::size_t b = 0; b < width; ++b) by_extra[b] += g[b] * sequence[t * width + b];
  }
  return total * scale;
}

// ---- numbers

namespace {

// `count` numbers in [-scale / 2, scale / 2).
Numbers some(std::size_t count, std::size_t seed, double scale = 1) {
  Numbers result(count);
  for (std::size_t i = 0; i < count; ++i) result[i] = scattered_element(i, seed, scale);
  return result;
}

}  // namespace

Mixture mixture(std::size_t n, std::size_t d, std::size_t k) {
  return {n, d, k, some(k, 0), some(k * d, 1), some(k * d * (d + 1) / 2, 2), some(n * d, 3)};
}

Bundle bundle(std::size_t cameras, std::size_t points, std::size_t seen) {
  Bundle b{.cameras = cameras, .points = points, .seen = seen};
  b.camera = some(cameras * Bundle::camera_size, 0, 0.2);
  for (std::size_t c = 0; c < cameras; ++c) {
    b.camera[c * Bundle::camera_size + 5] -= 5;
    b.camera[c * Bundle::camera_size + 6] += 2;
  }
  b.point = some(points * 3, 1, 2);
  b.weight = some(seen, 2);
  b.features = some(seen * 2, 3);
  for (std::size_t p = 0; p < seen; ++p) {
    b.camera_of.push_back(static_cast<std::int64_t>(p * 7 % cameras));
    b.point_of.push_back(static_cast<std::int64_t>(p * 11 % points));
  }
  return b;
}

Hand hand(std::size_t points) {
  Hand h{.points = points};
  h.theta = some(Hand::parameters, 0);
  h.rest = some(Hand::bones * 3, 1, 0.2);
  for (std::size_t b = 1; b < Hand::bones; ++b) h.rest[3 * b + 1] += 1;
  h.skin = some(points * 3, 2, 4);
  h.share = some(points * Hand::bones, 3);
  for (std::size_t p = 0; p < points; ++p) {
    double sum = 0;
    for (std::size_t b = 0; b < Hand::bones; ++b) {
      double& part = h.share[p * Hand::bones + b];
      part += 0.5;
      sum += part;
    }
    for (std::size_t b = 0; b < Hand::bones; ++b) h.share[p * Hand::bones + b] /= sum;
  }
  h.measured = some(points * 3, 4, 4);
  return h;
}

Lstm lstm(std::size_t layers, std::size_t steps, std::size_t width) {
  return {layers,
          steps,
          width,
          some(layers * 8 * width, 0, 2),
          some(3 * width, 1, 2),
          some(layers * 2 * width, 2),
          some(steps * width, 3)};
}

}  // namespace bench::by_hand
