import { describe, expect, it } from 'vitest';
import { addressesOf, type EndpointSlice } from './endpoint-slices.ts';

type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];

function slice(endpoints: readonly Endpoint[], more: Partial<EndpointSlice> = {}): EndpointSlice {
  return {
    metadata: { name: 'a', resourceVersion: '1' },
    addressType: 'IPv4',
    endpoints: [...endpoints],
    ports: [{ name: 'mtls', port: 8443 }],
    ...more,
  };
}

const at = (address: string, conditions?: Endpoint['conditions']): Endpoint => ({
  addresses: [address],
  conditions,
});

describe('addressesOf', () => {
  it('takes those that are ready, and those that say nothing of it', () => {
    const slices = [
      slice([at('10.0.0.1', { ready: true }), at('10.0.0.2', { ready: false }), at('10.0.0.3')]),
    ];
    expect(addressesOf(slices, 'mtls')).toEqual(['10.0.0.1:8443', '10.0.0.3:8443']);
  });

  it('takes those that still serve while they end, only when none is ready', () => {
    const ending = at('10.0.0.1', { ready: false, serving: true, terminating: true });
    const failing = at('10.0.0.2', { ready: false, serving: false, terminating: true });
    const notYet = at('10.0.0.3', { ready: false, serving: true, terminating: false });
    expect(addressesOf([slice([ending, failing, notYet])], 'mtls')).toEqual(['10.0.0.1:8443']);
    expect(addressesOf([slice([ending, at('10.0.0.4')])], 'mtls')).toEqual(['10.0.0.4:8443']);
    expect(addressesOf([slice([failing, notYet])], 'mtls')).toEqual([]);
  });

  it('puts slices together, and an endpoint that is in two of them for a moment is one', () => {
    const slices = [slice([at('10.0.0.1'), at('10.0.0.2')]), slice([at('10.0.0.2')])];
    expect(addressesOf(slices, 'mtls')).toEqual(['10.0.0.1:8443', '10.0.0.2:8443']);
  });

  it('takes a number as the port of every pod, and a name as each slice has it', () => {
    const other = slice([at('10.0.0.2')], { ports: [{ name: 'mtls', port: 9443 }] });
    expect(addressesOf([slice([at('10.0.0.1')]), other], 'mtls')).toEqual(['10.0.0.1:8443', '10.0.0.2:9443']);
    expect(addressesOf([slice([at('10.0.0.1')], { ports: null })], 7)).toEqual(['10.0.0.1:7']);
    expect(addressesOf([slice([at('10.0.0.1')])], 'grpc')).toEqual([]);
  });

  it('takes IPv4 where pods have both families, IPv6 in brackets where it is all there is, and no names', () => {
    const six = slice([at('fd00::1')], { addressType: 'IPv6' });
    expect(addressesOf([six, slice([at('10.0.0.1')])], 'mtls')).toEqual(['10.0.0.1:8443']);
    expect(addressesOf([six], 'mtls')).toEqual(['[fd00::1]:8443']);
    expect(addressesOf([slice([at('example.org')], { addressType: 'FQDN' })], 'mtls')).toEqual([]);
    expect(addressesOf([slice([at('example.org')])], 'mtls')).toEqual([]);
  });

  it('has nothing to give of a slice without endpoints', () => {
    expect(addressesOf([slice([], { endpoints: null })], 'mtls')).toEqual([]);
  });
});
