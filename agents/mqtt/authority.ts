/** What a client says of itself when it connects, and what its stream says of it. */
export interface ConnectRequest {
  /** The client's own identifier, or the one assigned to it. */
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
  /** Who the stream has proven the client to be (`ByteStream.identity`): it needs no password then. */
  readonly identity: string | undefined;
  /** The client's address, e.g. `192.168.1.102:50123`. */
  readonly peer: string;
  /** Name of the listener that the client came by (`ByteStream.listener`), for settings per listener. */
  readonly listener: string | undefined;
}

/** A client that has been let in: whose publishes and subscriptions are asked about. One object per session. */
export interface ClientIdentity {
  readonly clientId: string;
  /** The user name that was admitted; undefined for an anonymous client. */
  readonly username: string | undefined;
  /** Name of the listener that the client came by last, for settings per listener. */
  readonly listener?: string | undefined;
}

/**
 * The answer to a CONNECT. Refusals become CONNACK 0x87 and, for `server_busy`, 0x89 (MQTT 5), 5 and 3 (3.1.1): `bad_credentials`
 * where a user name or password was presented and is wrong, `not_authorized` where the client must not connect in any
 * case, `server_busy` where it should try again later.
 */
export type Admission =
  | { readonly admitted: true; readonly username: string | undefined }
  | { readonly admitted: false; readonly reason: "bad_credentials" | "not_authorized" | "server_busy" };

/**
 * Who may connect, and who may do what. The sessions ask at CONNECT, for each filter of a SUBSCRIBE, for each PUBLISH
 * and will, and for each message that is about to be queued for a client. All but `authenticate` answer at once,
 * never throw, and are on the hot path: answers should be remembered by the implementation. Answers may change at any
 * time (a reload): the next question gets the new answer. Who may not be connected any more is for `Broker.revoke`.
 */
export interface Authority {
  /**
   * Reading from the client waits for the promise; a rejection refuses the client as `not_authorized` and is logged.
   * The implementation bounds the number that it works on.
   */
  authenticate(request: ConnectRequest): Admission | Promise<Admission>;
  mayPublish(client: ClientIdentity, topic: string): boolean;
  /** `filter` without the `$share/NAME/` of a shared subscription. */
  maySubscribe(client: ClientIdentity, filter: string): boolean;
  mayReceive(client: ClientIdentity, topic: string): boolean;
}

/** Everybody may do everything: a certificate's name, or else whatever user name is given, is the user name. */
export const allowAll: Authority = {
  authenticate: ({ identity, username }) => ({ admitted: true, username: identity ?? username }),
  mayPublish: () => true,
  maySubscribe: () => true,
  mayReceive: () => true,
};
