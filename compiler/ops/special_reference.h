// Special functions for the reference interpreter: plain series, recurrences and bisection in long
// double, far slower than those of the compiled code and made of none of their polynomials.
#pragma once

namespace kroton::ops::reference {

double erfcx(double x);
double erfinv(double x);
double erfcinv(double x);
double ndtr(double x);
double log_ndtr(double x);
double ndtri(double p);
double gamma(double x);
double gammaln(double x);
double polygamma(int n, double x);
double betaln(double a, double b);
double zeta(double s, double q);
double bessel_i(int order, double x, bool scaled);
double bessel_k(int order, double x, bool scaled);
double gammainc(double a, double x, bool upper);
double betainc(double a, double b, double x);
// Derivatives by a parameter.
double gammainc_by_a(double a, double x);
double betainc_by(double a, double b, double x, bool by_a);
double zeta_by_s(double s, double q);
// What has that value, by bisection: of p below, or of q beyond.
double gammaincinv(double a, double share, bool upper);
double betaincinv(double a, double b, double p);
double exp1(double x);
double expi(double x);

}  // namespace kroton::ops::reference
